//! A closed segment as the engine reads it, and which neighbours become one. The log lists them, the reader walks them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::LogConfig;
use crate::names::{self, SegmentName};

/// A closed segment.
pub(crate) struct Source {
    pub dir: Arc<Path>,
    pub base_offset: i64,
    /// Exclusive: where the next segment begins.
    pub end_offset: i64,
    pub size: u64,
    pub file: Arc<File>,
    /// Bytes of the two indexes.
    pub index_bytes: (u64, u64),
}

impl Source {
    pub fn name(&self) -> SegmentName {
        SegmentName::new(self.dir.clone(), self.base_offset)
    }

    pub fn path(&self) -> PathBuf {
        self.name().path(names::LOG)
    }
}

/// Groups of adjacent segments that fit into one, by bytes, by index and by range of offsets.
pub(crate) fn grouped<'a>(sources: &'a [Source], config: &LogConfig) -> Vec<&'a [Source]> {
    let (bytes_max, index_max) = (u64::from(config.segment_bytes), u64::from(config.segment_index_bytes));
    let mut groups = Vec::new();
    let mut rest = sources;
    while let Some(first) = rest.first() {
        let (mut bytes, mut index) = (first.size, first.index_bytes);
        let joins = |next: &&Source| {
            bytes += next.size;
            index = (index.0 + next.index_bytes.0, index.1 + next.index_bytes.1);
            let span = next.end_offset - 1 - first.base_offset;
            bytes <= bytes_max
                && index.0.max(index.1) <= index_max
                && (next.size == 0 || span <= i64::from(i32::MAX))
        };
        let count = 1 + rest[1..].iter().take_while(joins).count();
        let (group, others) = rest.split_at(count);
        groups.push(group);
        rest = others;
    }
    groups
}
