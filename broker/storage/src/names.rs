//! The names of the files in a partition's folder, as Kafka spells them: the base offset in 20 digits and a suffix.
//! Everything that creates, finds or renames a file asks here, so that a name is spelled in one place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const LOG: &str = "log";
pub(crate) const OFFSET_INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TRANSACTION_INDEX: &str = "txnindex";
/// Producer states in Kafka's format.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Producer states with all that Kafka's format has no room for.
pub(crate) const PRODUCERS: &str = "producers";
/// Appended to the name of a file that waits for its deletion.
pub(crate) const DELETED: &str = "deleted";
/// Appended to the name of a file that is being written and will be renamed.
pub(crate) const TEMPORARY: &str = "tmp";
/// Appended to the names of a segment's copy that a cleaner is still writing.
pub(crate) const CLEANED: &str = "cleaned";
/// Appended to the names of a finished copy that takes the place of what it was made of.
pub(crate) const SWAP: &str = "swap";

pub(crate) const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// The suffixes of all files that belong to a segment, the data last: a crash while they are created or removed
/// then never leaves data without what describes it.
pub(crate) const SEGMENT_SUFFIXES: [&str; 6] =
    [SNAPSHOT, PRODUCERS, TRANSACTION_INDEX, TIME_INDEX, OFFSET_INDEX, LOG];

/// Those of them that hold or describe a segment's own batches. Saved states tell of everything before it, too.
pub(crate) const DATA_SUFFIXES: [&str; 4] = [TRANSACTION_INDEX, TIME_INDEX, OFFSET_INDEX, LOG];

/// `00000000000000001234.log` for 1234 and `log`.
pub(crate) fn file_name(base_offset: i64, suffix: &str) -> String {
    format!("{base_offset:020}.{suffix}")
}

/// Splits a file name into its base offset and its suffix; `None` for names of another shape.
pub(crate) fn parse(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let suffix = suffix.strip_prefix('.')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, suffix))
}

/// Where the files of one segment lie.
#[derive(Clone, Debug)]
pub(crate) struct SegmentName {
    pub dir: Arc<Path>,
    pub base_offset: i64,
    /// Appended to each name of a copy that is not yet the segment.
    stage: Option<&'static str>,
}

impl SegmentName {
    pub fn new(dir: Arc<Path>, base_offset: i64) -> SegmentName {
        SegmentName { dir, base_offset, stage: None }
    }

    /// The same segment's files in another stage: [`CLEANED`] or [`SWAP`].
    pub fn staged(&self, stage: &'static str) -> SegmentName {
        SegmentName { stage: Some(stage), ..self.clone() }
    }

    pub fn path(&self, suffix: &str) -> PathBuf {
        let name = file_name(self.base_offset, suffix);
        self.dir.join(match self.stage {
            None => name,
            Some(stage) => format!("{name}.{stage}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for offset in [0, 7, 1 << 48, i64::MAX] {
            let name = file_name(offset, LOG);
            assert_eq!(name.len(), 24);
            assert_eq!(parse(&name), Some((offset, LOG)));
        }
        assert_eq!(parse("00000000000000000007.log.deleted"), Some((7, "log.deleted")));
        for other in [
            "",
            "7.log",
            "0000000000000000000x.log",
            "00000000000000000007log",
            "99999999999999999999.log",
            "é".repeat(20).as_str(),
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
