//! A partition's folder as one string of bytes, so that a fuzzer can change it and still hand over files: how it is
//! opened, then a name, a length and a content for each file. Any bytes are a folder. The corpus is written by the
//! suite `fuzz_corpus` of the workspace's tests, which includes this file.

use std::io;
use std::path::Path;

/// A base offset is a small number or, with its flag, one as far from the end of all numbers, where arithmetic ends.
const FAR: i64 = i64::MAX - u16::MAX as i64;

/// Suffixes by number; those without a base offset stand alone in a folder.
pub const NAMES: [&str; 8] = [
    "log",
    "index",
    "timeindex",
    "snapshot",
    "producers",
    "leader-epoch-checkpoint",
    "txnindex",
    "log.cleaned",
];
const WITHOUT_BASE: &str = "leader-epoch-checkpoint";

/// Bytes of `flags`, `log_start` and `recovery_point` before the files.
const HEAD_BYTES: usize = 1 + 2 + 2;
/// Bytes of name, base offset and length before a content.
const FILE_HEAD_BYTES: usize = 1 + 2 + 2;
const IS_FAR: u8 = 0x40;
const IN_LANE: u8 = 0x80;
/// So many files are made of one input, at most.
const FILES_MAX: usize = 24;

/// How the folder is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// The last stop is noted as clean.
    pub clean: bool,
    /// Checksums are made right before the files are written: they are no obstacle to who makes the bytes.
    pub seal: bool,
    /// What the folder's checkpoints say.
    pub log_start: i64,
    pub recovery_point: i64,
}

/// One file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// In the sub-folder of the lane.
    pub in_lane: bool,
    pub base_offset: i64,
    pub name: usize,
    pub content: &'a [u8],
}

/// Reads how to open a folder, and its files. The last file's content ends where the bytes do.
pub fn decode(bytes: &[u8]) -> Option<(How, Vec<File<'_>>)> {
    let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [flags, starts @ ..] = *head;
    let number = |at: usize| i64::from(u16::from_be_bytes([starts[at], starts[at + 1]]));
    let how =
        How { clean: flags & 1 != 0, seal: flags & 2 != 0, log_start: number(0), recovery_point: number(2) };
    let mut files = Vec::new();
    while let Some((&[which, base @ .., high, low], after)) = rest.split_first_chunk::<FILE_HEAD_BYTES>() {
        if files.len() == FILES_MAX {
            break;
        }
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (content, next) = after.split_at(length);
        let base = i64::from(u16::from_be_bytes(base));
        let base_offset = if which & IS_FAR != 0 { FAR + base } else { base };
        files.push(File {
            in_lane: which & IN_LANE != 0,
            base_offset,
            name: usize::from(which & 7),
            content,
        });
        rest = next;
    }
    Some((how, files))
}

/// The bytes that `decode` reads back. Numbers and contents must fit into 16 bits.
pub fn encode(how: How, files: &[File<'_>]) -> Vec<u8> {
    let mut bytes = vec![u8::from(how.clean) | u8::from(how.seal) << 1];
    bytes.extend_from_slice(&(how.log_start as u16).to_be_bytes());
    bytes.extend_from_slice(&(how.recovery_point as u16).to_be_bytes());
    for file in files {
        let is_far = file.base_offset >= FAR;
        let base = if is_far { file.base_offset - FAR } else { file.base_offset };
        bytes
            .push(file.name as u8 | if is_far { IS_FAR } else { 0 } | if file.in_lane { IN_LANE } else { 0 });
        bytes.extend_from_slice(&(base as u16).to_be_bytes());
        bytes.extend_from_slice(&(file.content.len() as u16).to_be_bytes());
        bytes.extend_from_slice(file.content);
    }
    bytes
}

/// The name in its folder.
pub fn file_name(file: &File<'_>) -> String {
    match NAMES[file.name] {
        WITHOUT_BASE => WITHOUT_BASE.to_owned(),
        suffix => format!("{:020}.{suffix}", file.base_offset),
    }
}

/// Writes the files into `dir`, those of the lane into `lane` below it. Of two with one name the later one stays.
pub fn write(dir: &Path, how: How, files: &[File<'_>], crc: fn(&[u8]) -> u32) -> io::Result<()> {
    for file in files {
        let place = if file.in_lane { dir.join("lane") } else { dir.to_path_buf() };
        std::fs::create_dir_all(&place)?;
        let mut content = file.content.to_vec();
        if how.seal {
            seal(NAMES[file.name], &mut content, crc);
        }
        std::fs::write(place.join(file_name(file)), content)?;
    }
    Ok(())
}

/// Puts the right checksums into what bears some.
fn seal(name: &str, content: &mut [u8], crc: fn(&[u8]) -> u32) {
    match name {
        "log" => seal_batches(content, crc),
        "snapshot" => seal_from(content, 2, crc),
        "producers" => seal_from(content, 6, crc),
        _ => {}
    }
}

fn seal_batches(mut rest: &mut [u8], crc: fn(&[u8]) -> u32) {
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some((batch, after)) = length.checked_add(12).and_then(|size| rest.split_at_mut_checked(size))
        else {
            break;
        };
        seal_from(batch, 17, crc);
        rest = after;
    }
}

/// The checksum stands at `at` and covers all behind it.
fn seal_from(bytes: &mut [u8], at: usize, crc: fn(&[u8]) -> u32) {
    if let Some((head, covered)) = bytes.split_at_mut_checked(at + 4) {
        head[at..].copy_from_slice(&crc(covered).to_be_bytes());
    }
}
