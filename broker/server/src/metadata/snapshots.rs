//! Snapshot files of the metadata, named by the last entry that they hold, as Kafka names its checkpoints:
//! `OFFSET-EPOCH.checkpoint`. Each is a header line with the quorum's view and a checksum, then the text of
//! `ottla_controller::snapshot`. A file appears only when it is whole; the log is cut afterwards.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openraft::{BasicNode, LogId, StoredMembership};
use ottla_controller::bounds::SNAPSHOT_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::atomic_file;
use super::bounds::SNAPSHOTS_KEPT;

const SUFFIX: &str = ".checkpoint";
const FORMAT: u16 = 0;
/// The header line: two positions and the voters.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// What the quorum knows of a snapshot, beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    pub(super) last_log_id: Option<LogId<u64>>,
    pub(super) membership: StoredMembership<u64, BasicNode>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u16,
    position: Position,
    bytes: u64,
    crc32c: u32,
}

/// Replaces nothing that is older until the new file is durable; then drops all but the newest few.
pub(super) fn save(folder: &Path, position: &Position, content: &[u8]) -> io::Result<()> {
    let header = Header {
        format: FORMAT,
        position: position.clone(),
        bytes: content.len() as u64,
        crc32c: crc32c::crc32c(content),
    };
    let mut line = serde_json::to_vec(&header).map_err(io::Error::other)?;
    line.push(b'\n');
    atomic_file::write(&folder.join(name(position.last_log_id)), &[&line, content])?;
    let mut files = list(folder)?;
    files.truncate(files.len().saturating_sub(SNAPSHOTS_KEPT));
    for old in files {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// The newest snapshot that is whole. A damaged one is reported; an older one takes its place only where the
/// caller finds the log reaching back to it.
pub(super) fn load(folder: &Path) -> io::Result<Option<(Position, Vec<u8>)>> {
    let files = list(folder)?;
    let mut damage = None;
    for path in files.iter().rev() {
        match read(path) {
            Ok(found) => return Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "a metadata snapshot is damaged");
                damage.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match damage {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

fn read(path: &Path) -> io::Result<(Position, Vec<u8>)> {
    let invalid = |reason: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} cannot be read: {reason}", path.display()))
    };
    let size = fs::metadata(path)?.len();
    if size > (SNAPSHOT_BYTES_MAX + HEADER_BYTES_MAX) as u64 {
        return Err(invalid(&format!("it has {size} bytes, {SNAPSHOT_BYTES_MAX} are the most")));
    }
    let mut bytes = fs::read(path)?;
    let end = bytes.iter().take(HEADER_BYTES_MAX).position(|b| *b == b'\n');
    let end = end.ok_or_else(|| invalid("its first line has no end"))?;
    let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|e| invalid(&e.to_string()))?;
    if header.format != FORMAT {
        return Err(invalid(&format!("it has format {}, this broker knows format {FORMAT}", header.format)));
    }
    bytes.drain(..=end);
    if header.bytes != bytes.len() as u64 || header.crc32c != crc32c::crc32c(&bytes) {
        return Err(invalid("its checksum does not match"));
    }
    Ok((header.position, bytes))
}

/// All snapshot files, oldest first.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Zero-padded, so that names sort by position. The offset is the first one that the snapshot does not hold.
fn name(last: Option<LogId<u64>>) -> String {
    let (end, term) = last.map_or((0, 0), |id| (id.index + 1, id.leader_id.term));
    format!("{end:020}-{term:010}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(index: u64) -> Position {
        let id = LogId::new(openraft::CommittedLeaderId::new(1, 1), index);
        Position { last_log_id: Some(id), membership: StoredMembership::default() }
    }

    #[test]
    fn the_newest_whole_one_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        for index in [9, 10, 200] {
            save(folder.path(), &position(index), format!("content {index}").as_bytes()).unwrap();
        }
        assert_eq!(list(folder.path()).unwrap().len(), SNAPSHOTS_KEPT);
        let (found, content) = load(folder.path()).unwrap().unwrap();
        assert_eq!((found, &content[..]), (position(200), &b"content 200"[..]));
        let newest = folder.path().join("00000000000000000201-0000000001.checkpoint");
        let mut bytes = fs::read(&newest).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&newest, bytes).unwrap();
        assert_eq!(load(folder.path()).unwrap().unwrap().0, position(10));
    }

    #[test]
    fn nothing_but_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &position(1), b"content").unwrap();
        let file = list(folder.path()).unwrap().remove(0);
        for bytes in [&b""[..], b"{}\n", b"no line", b"\n"] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(load(folder.path()).err().unwrap().kind(), io::ErrorKind::InvalidData);
        }
    }
}
