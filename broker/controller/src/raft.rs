//! The types of the quorum that orders records. A command names the version of the image that it was decided on:
//! one that was decided on an older image changes nothing when its turn comes, and is decided again.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use crate::bounds::{COMMAND_BYTES_MAX, COMMAND_RECORDS_MAX};
use crate::image::Image;
use crate::record::Record;

openraft::declare_raft_types!(
    /// The quorum of the cluster's metadata.
    pub TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = openraft::BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// Records that one decision made, applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// [`Image::version`] of the image that the decision saw.
    pub decided_on: u64,
    pub records: Vec<Record>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Not a command: an entry of the quorum's own.
    None,
    /// The image has this version now.
    Applied { version: u64 },
    /// Other records came first; the image has this version.
    Stale { version: u64 },
    /// The records contradict the image.
    Refused { reason: String },
}

impl Command {
    /// What is wrong with the command's size, if anything is.
    pub fn check_bounds(&self, encoded_bytes: usize) -> Result<(), String> {
        if self.records.len() > COMMAND_RECORDS_MAX {
            return Err(format!(
                "a change of {} records is above the bound of {COMMAND_RECORDS_MAX}; ask for less at once",
                self.records.len()
            ));
        }
        if encoded_bytes > COMMAND_BYTES_MAX {
            return Err(format!(
                "a change of {encoded_bytes} bytes is above the bound of {COMMAND_BYTES_MAX}; ask for less at once"
            ));
        }
        Ok(())
    }

    /// Applies the command: the new image, or none where nothing changes. Equal on every broker.
    pub fn apply(&self, image: &Image) -> (Option<Image>, Outcome) {
        if self.decided_on != image.version() {
            return (None, Outcome::Stale { version: image.version() });
        }
        match image.apply(&self.records) {
            Ok(image) => {
                let version = image.version();
                (Some(image), Outcome::Applied { version })
            }
            Err(error) => (None, Outcome::Refused { reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ProducerIdsRecord;

    fn command(decided_on: u64, next: i64) -> Command {
        Command { decided_on, records: vec![Record::ProducerIds(ProducerIdsRecord { broker: 1, next })] }
    }

    #[test]
    fn a_command_decided_on_another_image_changes_nothing() {
        let (image, outcome) = command(0, 1_000).apply(&Image::default());
        let image = image.expect("the image that it was decided on");
        assert_eq!((image.next_producer_id(), outcome), (1_000, Outcome::Applied { version: 1 }));
        for decided_on in [0, 2] {
            assert_eq!(command(decided_on, 2_000).apply(&image), (None, Outcome::Stale { version: 1 }));
        }
        let (unchanged, outcome) = command(1, 5).apply(&image);
        assert!(unchanged.is_none() && matches!(outcome, Outcome::Refused { .. }));
    }

    #[test]
    fn a_command_has_bounds() {
        let many = Command {
            decided_on: 0,
            records: vec![command(0, 1).records[0].clone(); COMMAND_RECORDS_MAX + 1],
        };
        assert!(many.check_bounds(0).is_err());
        assert!(command(0, 1).check_bounds(COMMAND_BYTES_MAX + 1).is_err());
        assert_eq!(command(0, 1).check_bounds(COMMAND_BYTES_MAX), Ok(()));
    }
}
