//! Partitioners that see keys alone. `export` calls [`place`] for each batch; an author implements the trait.

use serde::de::DeserializeOwned;

use crate::answer::{Answer, Refusal, collect};
use crate::topic::{At, Partitions, Topic};

/// Decides partitions by key. Values and headers are never copied for it.
///
/// A broker runs several instances and may make or drop one between any two batches: state in `self` is a hint, such
/// as whose turn it is, and never a record of what happened.
pub trait KeyPartitioner: Sized {
    /// The config, from JSON. Say `#[serde(deny_unknown_fields)]`, so that a mistyped field is an error.
    type Config: DeserializeOwned;

    /// Makes an instance. The same input must give the same answer.
    ///
    /// # Errors
    /// A sentence for whoever attaches the plugin: what is wrong and what to write instead.
    fn configure(config: Self::Config, topic: &Topic, partitions: &Partitions) -> Result<Self, String>;

    /// The partitions have changed. [`At::partitions`] has them too; override this to compute something once.
    fn observe(&mut self, partitions: &Partitions) {
        let _ = partitions;
    }

    /// The partition for one record, below `at.partitions.count()`.
    ///
    /// # Errors
    /// [`Refusal::Record`] for a bad record, [`Refusal::Batch`] if there can be no decision.
    fn partition(&mut self, key: Option<&[u8]>, at: At<'_>) -> Result<u32, Refusal>;
}

/// Places a batch of keys: one length per record, -1 for null, the bytes end to end.
#[inline]
pub(crate) fn place<P: KeyPartitioner>(
    plugin: &mut P,
    partitions: &Partitions,
    client: u32,
    lengths: &[i32],
    bytes: &[u8],
) -> Answer {
    let mut rest = bytes;
    let at = At { client, partitions };
    collect(lengths.len(), client, |index| plugin.partition(next(&mut rest, lengths[index]), at))
}

/// Cuts the next string off `rest`. The broker's lengths fit its bytes; if they ever do not, the rest is empty.
#[inline]
pub(crate) fn next<'a>(rest: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let length = usize::try_from(length).ok()?;
    let (item, left) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    *rest = left;
    Some(item)
}
