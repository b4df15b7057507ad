//! Records every change that storage makes to the files under one folder, and every sync, in order. Names are resolved
//! to files and folders as they are changed, so that the trace can be played in any order afterwards. A sync is two
//! events: it covers what was recorded before its begin, and counts from its end.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use ottla_storage::disk_hooks::{Change, Hook, Installed, install};
use parking_lot::Mutex;

pub type FileId = usize;
pub type DirId = usize;

/// The folder that is recorded.
pub const ROOT: DirId = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    File(FileId),
    Dir(DirId),
}

#[derive(Debug)]
pub enum Event {
    Link {
        dir: DirId,
        name: String,
        node: Node,
    },
    Unlink {
        dir: DirId,
        name: String,
    },
    /// Within one folder, in one step.
    Rename {
        dir: DirId,
        from: String,
        to: String,
        node: Node,
    },
    Write {
        file: FileId,
        position: u64,
        bytes: Vec<u8>,
    },
    SetLength {
        file: FileId,
        length: u64,
    },
    SyncBegun,
    /// Covers what was recorded before `begun`.
    FileSynced {
        file: FileId,
        begun: usize,
    },
    DirSynced {
        dir: DirId,
        begun: usize,
    },
}

/// What happened, and the files and folders that it happened to.
#[derive(Debug, Default)]
pub struct Trace {
    pub events: Vec<Event>,
    pub files: usize,
    /// Paths relative to the root, as they are now.
    names: HashMap<PathBuf, Node>,
    dirs: usize,
    inodes: HashMap<(u64, u64), FileId>,
    syncs: HashMap<(ThreadId, Node), usize>,
}

impl Trace {
    /// The last events before `at`, one a line.
    pub fn tail(&self, at: usize, count: usize) -> String {
        let mut lines = String::new();
        for (number, event) in self.events.iter().enumerate().take(at).skip(at.saturating_sub(count)) {
            let shown = match event {
                Event::Write { file, position, bytes } => {
                    format!("Write {{ file: {file}, position: {position}, bytes: {} }}", bytes.len())
                }
                other => format!("{other:?}"),
            };
            lines.push_str(&format!("\n{number}: {shown}"));
        }
        lines
    }
}

pub struct Recorder {
    root: PathBuf,
    trace: Mutex<Trace>,
}

impl Recorder {
    /// Begins to record what happens under `root`, an empty folder.
    pub fn install(root: &Path) -> (Arc<Recorder>, Installed) {
        let mut trace = Trace { dirs: 1, ..Trace::default() };
        trace.names.insert(PathBuf::new(), Node::Dir(ROOT));
        let root = root.canonicalize().expect("the folder is there");
        let recorder = Arc::new(Recorder { root, trace: Mutex::new(trace) });
        (Arc::clone(&recorder), install(recorder))
    }

    /// How many events there are so far.
    pub fn now(&self) -> usize {
        self.trace.lock().events.len()
    }

    /// What was recorded; nothing must be recorded any more.
    pub fn take(&self) -> Trace {
        std::mem::take(&mut *self.trace.lock())
    }

    fn relative(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(Path::to_path_buf)
    }
}

fn inode(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Trace {
    fn file(&self, file: &File) -> Option<FileId> {
        let metadata = file.metadata().ok()?;
        self.inodes.get(&inode(&metadata)).copied()
    }

    fn dir(&self, path: &Path) -> Option<DirId> {
        match self.names.get(path) {
            Some(Node::Dir(dir)) => Some(*dir),
            _ => None,
        }
    }

    /// The folder of a path, and the name in it.
    fn place(&self, path: &Path) -> Option<(DirId, String)> {
        let name = path.file_name().and_then(OsStr::to_str)?;
        Some((self.dir(path.parent()?)?, name.to_owned()))
    }

    fn created(&mut self, path: PathBuf, inode: (u64, u64)) -> Option<()> {
        if let Some(&Node::File(file)) = self.names.get(&path) {
            self.events.push(Event::SetLength { file, length: 0 });
            return Some(());
        }
        let (dir, name) = self.place(&path)?;
        let node = Node::File(self.files);
        self.inodes.insert(inode, self.files);
        self.files += 1;
        self.names.insert(path, node);
        self.events.push(Event::Link { dir, name, node });
        Some(())
    }

    fn created_dir(&mut self, path: PathBuf) -> Option<()> {
        let (dir, name) = self.place(&path)?;
        let node = Node::Dir(self.dirs);
        self.dirs += 1;
        self.names.insert(path, node);
        self.events.push(Event::Link { dir, name, node });
        Some(())
    }

    fn forget(&mut self, node: Node) {
        if let Node::File(file) = node {
            self.inodes.retain(|_, known| *known != file);
        }
    }

    fn removed(&mut self, path: &Path) -> Option<()> {
        let (dir, name) = self.place(path)?;
        let node = self.names.remove(path)?;
        self.forget(node);
        self.events.push(Event::Unlink { dir, name });
        Some(())
    }

    fn removed_dir(&mut self, path: &Path) -> Option<()> {
        let mut within: Vec<PathBuf> =
            self.names.keys().filter(|known| known.starts_with(path)).cloned().collect();
        // What lies in a folder goes before it.
        within.sort_by_key(|known| std::cmp::Reverse(known.components().count()));
        within.iter().try_for_each(|known| self.removed(known))
    }

    fn renamed(&mut self, from: &Path, to: &Path) -> Option<()> {
        let (dir, name) = self.place(from)?;
        let (to_dir, new_name) = self.place(to)?;
        assert_eq!(dir, to_dir, "a rename from folder to folder is not one step on every file system");
        let node = *self.names.get(from)?;
        if let Some(replaced) = self.names.get(to).copied() {
            self.forget(replaced);
        }
        let moved: Vec<PathBuf> =
            self.names.keys().filter(|known| known.starts_with(from)).cloned().collect();
        for path in moved {
            let rest = path.strip_prefix(from).expect("it starts with it");
            let new = if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) };
            if let Some(node) = self.names.remove(&path) {
                self.names.insert(new, node);
            }
        }
        self.events.push(Event::Rename { dir, from: name, to: new_name, node });
        Some(())
    }
}

impl Hook for Recorder {
    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        let mut trace = self.trace.lock();
        let node = match change {
            Change::SyncFile(file) => trace.file(file).map(Node::File),
            Change::SyncDir(path) => self.relative(path).and_then(|path| trace.dir(&path)).map(Node::Dir),
            _ => None,
        };
        if let Some(node) = node {
            let begun = trace.events.len();
            trace.syncs.insert((thread::current().id(), node), begun);
            trace.events.push(Event::SyncBegun);
        }
        Ok(())
    }

    fn after(&self, change: &Change<'_>) {
        let mut trace = self.trace.lock();
        let trace = &mut *trace;
        let path = |path: &Path| self.relative(path);
        match *change {
            Change::Create(created) => {
                if let (Some(relative), Ok(metadata)) = (path(created), fs::metadata(created)) {
                    trace.created(relative, inode(&metadata));
                }
            }
            Change::CreateDir(created) => {
                let _ = path(created).and_then(|path| trace.created_dir(path));
            }
            Change::Remove(removed) => {
                let _ = path(removed).and_then(|path| trace.removed(&path));
            }
            Change::RemoveDir(removed) => {
                let _ = path(removed).and_then(|path| trace.removed_dir(&path));
            }
            Change::Rename { from, to } => {
                let _ = path(from).zip(path(to)).and_then(|(from, to)| trace.renamed(&from, &to));
            }
            Change::Write { file, position, bytes } => {
                if let Some(file) = trace.file(file) {
                    trace.events.push(Event::Write { file, position, bytes: bytes.to_vec() });
                }
            }
            Change::SetLength(file, length) => {
                if let Some(file) = trace.file(file) {
                    trace.events.push(Event::SetLength { file, length });
                }
            }
            Change::SyncFile(file) => {
                let Some(file) = trace.file(file) else { return };
                if let Some(begun) = trace.syncs.remove(&(thread::current().id(), Node::File(file))) {
                    trace.events.push(Event::FileSynced { file, begun });
                }
            }
            Change::SyncDir(synced) => {
                let Some(dir) = path(synced).and_then(|path| trace.dir(&path)) else { return };
                if let Some(begun) = trace.syncs.remove(&(thread::current().id(), Node::Dir(dir))) {
                    trace.events.push(Event::DirSynced { dir, begun });
                }
            }
        }
    }
}
