//! Kafka's checkpoint files: a version, the number of lines, the lines. Epoch cache and log folder keep theirs in
//! this form; they are replaced atomically and read within a bound.

use std::path::Path;

use crate::disk::{self, Durability};
use crate::error::StorageError;

const VERSION: &str = "0";
/// Beyond this a checkpoint is not read: a million partitions with names of usual length need less.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The lines of the checkpoint at `path`; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, StorageError> {
    let damaged = |reason: String| StorageError::Damaged { path: path.to_path_buf(), reason };
    let Some(content) = disk::read_small(path, FILE_BYTES_MAX)? else { return Ok(Vec::new()) };
    let text = String::from_utf8(content).map_err(|_| damaged("it is not text".to_owned()))?;
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        other => return Err(damaged(format!("its version is {other:?}, known is {VERSION}"))),
    }
    let count: Option<usize> = lines.next().and_then(|line| line.parse().ok());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if count != Some(lines.len()) {
        return Err(damaged(format!("it says {count:?} lines and has {}", lines.len())));
    }
    Ok(lines)
}

/// Replaces the checkpoint at `path`.
pub(crate) fn write(
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
    durability: Durability,
) -> Result<(), StorageError> {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    disk::replace(path, text.as_bytes(), durability)
}
