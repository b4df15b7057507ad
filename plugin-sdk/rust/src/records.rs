//! Records as plugins see them, and partitioners that see more than keys. `export` builds [`Columns`] over the broker's
//! lists and calls [`place`] for each batch; an author implements the trait. `retention` walks the same columns.

use serde::de::DeserializeOwned;

use crate::answer::{Answer, Refusal, collect};
use crate::keys::next;
use crate::topic::{At, Partitions, Topic};

/// The parts of records that a plugin reads. A part that is not asked for is not copied, and reads as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub keys: bool,
    pub values: bool,
    pub headers: bool,
    pub timestamps: bool,
}

impl Fields {
    pub const NONE: Fields = Fields { keys: false, values: false, headers: false, timestamps: false };
    pub const KEYS: Fields = Fields { keys: true, ..Fields::NONE };
    pub const TIMESTAMPS: Fields = Fields { timestamps: true, ..Fields::NONE };
}

/// Decides partitions by any part of a record. What [`crate::KeyPartitioner`] says of state holds here too.
pub trait RecordPartitioner: Sized {
    /// The config, from JSON. Say `#[serde(deny_unknown_fields)]`, so that a mistyped field is an error.
    type Config: DeserializeOwned;

    /// Makes an instance. The same input must give the same answer.
    ///
    /// # Errors
    /// A sentence for whoever attaches the plugin: what is wrong and what to write instead.
    fn configure(config: Self::Config, topic: &Topic, partitions: &Partitions) -> Result<Self, String>;

    /// What [`Self::partition`] reads under this config; asked once after `configure`.
    fn fields(&self) -> Fields;

    /// The partitions have changed. [`At::partitions`] has them too; override this to compute something once.
    fn observe(&mut self, partitions: &Partitions) {
        let _ = partitions;
    }

    /// The partition for one record, below `at.partitions.count()`.
    ///
    /// # Errors
    /// [`Refusal::Record`] for a bad record, [`Refusal::Batch`] if there can be no decision.
    fn partition(&mut self, record: Record<'_>, at: At<'_>) -> Result<u32, Refusal>;
}

/// One record, borrowed from the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// In milliseconds since 1970; -1 where the record has none, 0 if timestamps were not asked for.
    pub timestamp_ms: i64,
    pub headers: Headers<'a>,
}

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in their order. Iterate over it; it is cheap to copy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    keys: Column<'a>,
    values: Column<'a>,
}

impl<'a> Headers<'a> {
    /// True if the record has a header of this name.
    pub fn has(self, key: &[u8]) -> bool {
        self.into_iter().any(|header| header.key == key)
    }

    /// The last header of this name, which is the one that Kafka's clients take where there are several.
    #[inline]
    pub fn last(self, key: &[u8]) -> Option<Header<'a>> {
        self.into_iter().filter(|header| header.key == key).last()
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        let key = self.keys.next()?.unwrap_or_default();
        let value = self.values.next().flatten();
        Some(Header { key, value })
    }
}

/// What is left of a column.
#[derive(Clone, Copy, Debug, Default)]
pub struct Column<'a> {
    pub lengths: &'a [i32],
    pub bytes: &'a [u8],
}

impl<'a> Column<'a> {
    /// Cuts the first `entries` strings off.
    fn split(&mut self, entries: usize) -> Column<'a> {
        let (lengths, lengths_left) = self.lengths.split_at_checked(entries).unwrap_or((self.lengths, &[]));
        let size = lengths.iter().map(|&length| length.max(0) as usize).sum();
        let (bytes, bytes_left) = self.bytes.split_at_checked(size).unwrap_or((self.bytes, &[]));
        *self = Column { lengths: lengths_left, bytes: bytes_left };
        Column { lengths, bytes }
    }
}

impl<'a> Iterator for Column<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (&length, lengths) = self.lengths.split_first()?;
        self.lengths = lengths;
        Some(next(&mut self.bytes, length))
    }
}

/// A batch as it crosses. Columns that were not asked for are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'a> {
    pub count: u32,
    pub keys: Column<'a>,
    pub values: Column<'a>,
    pub timestamps_ms: &'a [i64],
    pub header_counts: &'a [u32],
    pub header_keys: Column<'a>,
    pub header_values: Column<'a>,
}

impl<'a> Columns<'a> {
    /// Cuts the record off that is `index`-th of the batch; callers go through them in order.
    #[inline]
    pub(crate) fn next_record(&mut self, index: usize) -> Record<'a> {
        let headers = self.header_counts.get(index).map_or(0, |&count| count as usize);
        Record {
            key: self.keys.next().flatten(),
            value: self.values.next().flatten(),
            timestamp_ms: self.timestamps_ms.get(index).copied().unwrap_or(0),
            headers: Headers {
                keys: self.header_keys.split(headers),
                values: self.header_values.split(headers),
            },
        }
    }
}

#[inline]
pub(crate) fn place<P: RecordPartitioner>(
    plugin: &mut P,
    partitions: &Partitions,
    client: u32,
    mut columns: Columns<'_>,
) -> Answer {
    let at = At { client, partitions };
    collect(columns.count as usize, client, |index| plugin.partition(columns.next_record(index), at))
}
