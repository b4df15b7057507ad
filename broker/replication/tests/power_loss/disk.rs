//! The crash model: what a disk may hold after the power went at some event of a trace. A file holds what was synced
//! and any part of what was written since, in sectors; a folder has the names that were synced and any part of the
//! changes since, in any combination. Assumed is what every journalling file system of Linux keeps: a sector is
//! written whole or not at all, a rename happens whole or not at all, and the cuts of one file happen in order, each
//! before what is written behind it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::random::Random;
use crate::recorder::{DirId, Event, Node, ROOT, Trace};

const SECTOR_BYTES: u64 = 512;

/// What survives of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Nothing,
    Everything,
    /// Everything up to some moment, as after a kill and a flush of the page cache.
    UpTo(usize),
    /// All names, no bytes.
    NamesOnly,
    /// All bytes, no names.
    BytesOnly,
    /// All names, and files of full length that hold zeros.
    Zeros,
    /// Names up to some moment, as a journal keeps them, and any bytes.
    Journal(usize),
    /// Any names and any bytes.
    Any,
}

#[derive(Default)]
struct FileState {
    synced: Vec<u8>,
    /// Events that are not synced.
    pending: Vec<usize>,
}

#[derive(Default)]
struct DirState {
    synced: BTreeMap<String, Node>,
    pending: Vec<usize>,
}

/// The disk at one event of a trace.
pub struct Disk<'a> {
    trace: &'a Trace,
    at: usize,
    files: Vec<FileState>,
    dirs: BTreeMap<DirId, DirState>,
}

impl<'a> Disk<'a> {
    /// Before the first event.
    pub fn new(trace: &'a Trace) -> Disk<'a> {
        let files = (0..trace.files).map(|_| FileState::default()).collect();
        Disk { trace, at: 0, files, dirs: BTreeMap::new() }
    }

    /// How many events have happened.
    pub fn at(&self) -> usize {
        self.at
    }

    /// One event happens. False after the last one.
    pub fn advance(&mut self) -> bool {
        let Some(event) = self.trace.events.get(self.at) else { return false };
        match event {
            Event::Link { dir, .. } | Event::Unlink { dir, .. } | Event::Rename { dir, .. } => {
                self.dirs.entry(*dir).or_default().pending.push(self.at);
            }
            Event::Write { file, .. } | Event::SetLength { file, .. } => {
                self.files[*file].pending.push(self.at)
            }
            Event::SyncBegun => {}
            Event::FileSynced { file, begun } => self.sync_file(*file, *begun),
            Event::DirSynced { dir, begun } => self.sync_dir(*dir, *begun),
        }
        self.at += 1;
        true
    }

    fn sync_file(&mut self, file: usize, begun: usize) {
        let state = &mut self.files[file];
        let covered = state.pending.partition_point(|event| *event < begun);
        for event in state.pending.drain(..covered) {
            match &self.trace.events[event] {
                Event::Write { position, bytes, .. } => put(&mut state.synced, *position, bytes),
                Event::SetLength { length, .. } => state.synced.resize(*length as usize, 0),
                _ => {}
            }
        }
    }

    fn sync_dir(&mut self, dir: DirId, begun: usize) {
        let state = self.dirs.entry(dir).or_default();
        let covered = state.pending.partition_point(|event| *event < begun);
        for event in state.pending.drain(..covered) {
            change_names(&mut state.synced, &self.trace.events[event]);
        }
    }

    /// Writes what the disk may hold now into `target`, an empty folder. Returns how it was chosen.
    pub fn materialise(&self, target: &Path, random: &mut Random) -> String {
        let moment = random.below(self.at + 1);
        let fates = [
            Fate::Nothing,
            Fate::Everything,
            Fate::UpTo(moment),
            Fate::NamesOnly,
            Fate::BytesOnly,
            Fate::Zeros,
            Fate::Journal(moment),
            Fate::Any,
            Fate::Any,
            Fate::Any,
        ];
        let fate = fates[random.below(fates.len())];
        self.write_dir(ROOT, target, fate, random);
        format!("event {} of {}, {fate:?}", self.at, self.trace.events.len())
    }

    fn write_dir(&self, dir: DirId, target: &Path, fate: Fate, random: &mut Random) {
        let Some(state) = self.dirs.get(&dir) else { return };
        let mut names = state.synced.clone();
        for &event in &state.pending {
            let survives = match fate {
                Fate::Nothing | Fate::BytesOnly => false,
                Fate::Everything | Fate::NamesOnly | Fate::Zeros => true,
                Fate::UpTo(moment) | Fate::Journal(moment) => event < moment,
                Fate::Any => random.chance(2),
            };
            if survives {
                change_names(&mut names, &self.trace.events[event]);
            }
        }
        for (name, node) in names {
            let path = target.join(name);
            match node {
                Node::Dir(dir) => {
                    fs::create_dir(&path).expect("a folder of the copy");
                    self.write_dir(dir, &path, fate, random);
                }
                Node::File(file) => {
                    fs::write(&path, self.content(file, fate, random)).expect("a file of the copy");
                }
            }
        }
    }

    fn content(&self, file: usize, fate: Fate, random: &mut Random) -> Vec<u8> {
        let FileState { synced, pending } = &self.files[file];
        let mut content = synced.clone();
        let cuts = pending.iter().filter(|event| self.is_cut(**event)).count();
        // Of each file something else survives.
        let fate = match (fate, random.below(4)) {
            (Fate::Any | Fate::Journal(_), 0) => Fate::Everything,
            (Fate::Any | Fate::Journal(_), 1) => {
                Fate::UpTo(pending.get(random.below(pending.len().max(1))).map_or(0, |event| event + 1))
            }
            (fate, _) => fate,
        };
        let cuts_happen = match fate {
            Fate::Nothing | Fate::NamesOnly => 0,
            Fate::Everything | Fate::BytesOnly | Fate::Zeros => cuts,
            Fate::UpTo(moment) => {
                pending.iter().filter(|event| self.is_cut(**event) && **event < moment).count()
            }
            Fate::Any | Fate::Journal(_) => random.below(cuts + 1),
        };
        let mut cuts_seen = 0;
        for &event in pending {
            match &self.trace.events[event] {
                Event::SetLength { length, .. } => {
                    cuts_seen += 1;
                    if cuts_seen > cuts_happen {
                        break;
                    }
                    content.resize(*length as usize, 0);
                }
                Event::Write { position, bytes, .. } => match fate {
                    Fate::Nothing | Fate::NamesOnly => {}
                    Fate::Everything | Fate::BytesOnly => put(&mut content, *position, bytes),
                    Fate::UpTo(moment) if event + 1 < moment => put(&mut content, *position, bytes),
                    // The last write is torn.
                    Fate::UpTo(moment) if event + 1 == moment => {
                        put_some(&mut content, *position, bytes, random, Tear::Prefix)
                    }
                    Fate::UpTo(_) => {}
                    Fate::Zeros => extend(&mut content, position + bytes.len() as u64),
                    Fate::Any | Fate::Journal(_) => {
                        if random.chance(8) {
                            extend(&mut content, position + bytes.len() as u64);
                        }
                        put_some(&mut content, *position, bytes, random, Tear::Sectors);
                    }
                },
                _ => {}
            }
        }
        content
    }

    fn is_cut(&self, event: usize) -> bool {
        matches!(self.trace.events[event], Event::SetLength { .. })
    }
}

fn change_names(names: &mut BTreeMap<String, Node>, event: &Event) {
    match event {
        Event::Link { name, node, .. } => drop(names.insert(name.clone(), *node)),
        Event::Unlink { name, .. } => drop(names.remove(name)),
        Event::Rename { from, to, node, .. } => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
        _ => {}
    }
}

fn extend(content: &mut Vec<u8>, length: u64) {
    if content.len() < length as usize {
        content.resize(length as usize, 0);
    }
}

fn put(content: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    extend(content, position + bytes.len() as u64);
    content[position as usize..][..bytes.len()].copy_from_slice(bytes);
}

enum Tear {
    Prefix,
    Sectors,
}

/// Writes some of the sectors that a write touches.
fn put_some(content: &mut Vec<u8>, position: u64, bytes: &[u8], random: &mut Random, tear: Tear) {
    let end = position + bytes.len() as u64;
    let mut at = position;
    while at < end {
        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        if random.chance(2) {
            put(content, at, &bytes[(at - position) as usize..(next - position) as usize]);
        } else if matches!(tear, Tear::Prefix) {
            return;
        }
        at = next;
    }
}
