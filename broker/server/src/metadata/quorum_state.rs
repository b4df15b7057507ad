//! The file `quorum-state`: whom this voter gave its vote in which term, and up to where the log was cut. It is
//! written before the vote is answered or the log is cut, so that a restart can neither vote twice in a term nor
//! take a cut log for a damaged one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use openraft::{LogId, Vote};
use serde::{Deserialize, Serialize};

use super::atomic_file;

const FILE: &str = "quorum-state";
/// Far above what the two positions need; a larger file is not one of ours.
const FILE_BYTES_MAX: u64 = 64 << 10;
const FORMAT: u16 = 0;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u16,
    vote: Option<Vote<u64>>,
    /// The last entry that was cut from the start of the log.
    purged: Option<LogId<u64>>,
}

pub(super) struct QuorumState {
    path: PathBuf,
    content: Content,
}

impl QuorumState {
    /// Reads the file of a metadata folder; a missing file is a voter that never voted.
    pub(super) fn open(folder: &Path) -> io::Result<QuorumState> {
        let path = folder.join(FILE);
        let content = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(invalid(&path, &format!("it has {} bytes", metadata.len())));
            }
            Ok(_) => {
                let bytes = fs::read(&path)?;
                let content: Content =
                    serde_json::from_slice(&bytes).map_err(|e| invalid(&path, &e.to_string()))?;
                if content.format != FORMAT {
                    let reason =
                        format!("it has format {}, this broker knows format {FORMAT}", content.format);
                    return Err(invalid(&path, &reason));
                }
                content
            }
        };
        Ok(QuorumState { path, content })
    }

    pub(super) fn vote(&self) -> Option<Vote<u64>> {
        self.content.vote
    }

    pub(super) fn purged(&self) -> Option<LogId<u64>> {
        self.content.purged
    }

    pub(super) fn save_vote(&mut self, vote: Vote<u64>) -> io::Result<()> {
        self.save(Content { vote: Some(vote), ..self.content.clone() })
    }

    pub(super) fn save_purged(&mut self, purged: LogId<u64>) -> io::Result<()> {
        self.save(Content { purged: Some(purged), ..self.content.clone() })
    }

    fn save(&mut self, content: Content) -> io::Result<()> {
        let bytes = serde_json::to_vec(&content).map_err(io::Error::other)?;
        atomic_file::write(&self.path, &[&bytes])?;
        self.content = content;
        Ok(())
    }
}

fn invalid(path: &Path, reason: &str) -> io::Error {
    let message = format!(
        "{} cannot be read: {reason}; restore it from a copy of this folder, or start with an empty log.dirs",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vote_and_cut_are_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = QuorumState::open(folder.path()).unwrap();
        assert_eq!((state.vote(), state.purged()), (None, None));
        let cut = LogId::new(openraft::CommittedLeaderId::new(3, 1), 7);
        state.save_vote(Vote::new_committed(3, 1)).unwrap();
        state.save_purged(cut).unwrap();
        let state = QuorumState::open(folder.path()).unwrap();
        assert_eq!((state.vote(), state.purged()), (Some(Vote::new_committed(3, 1)), Some(cut)));
    }

    #[test]
    fn damage_is_an_error_and_not_a_fresh_voter() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"{", br#"{"format":9,"vote":null,"purged":null}"#] {
            fs::write(folder.path().join(FILE), bytes).unwrap();
            assert_eq!(QuorumState::open(folder.path()).err().unwrap().kind(), io::ErrorKind::InvalidData);
        }
    }
}
