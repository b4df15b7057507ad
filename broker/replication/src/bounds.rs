//! Every bound of this crate, in one place. Each names what it protects from.

/// `ottla.lane.bytes` by default. A lane that drains holds kilobytes; this much may wait for a destination.
pub const LANE_BYTES_DEFAULT: u64 = 256 << 20;

/// Entries that may be unresolved in one lane. Each costs about 150 bytes of memory, so many tiny batches do not
/// fill it.
pub const LANE_ENTRIES_MAX: usize = 262_144;

/// Producers that a lane remembers; beyond it the ones that were silent for longest are forgotten, but none that has
/// something unresolved in it. Each takes up to 250 bytes of every checkpoint.
pub const LANE_PRODUCERS_MAX: usize = 50_000;

/// Batches of a destination that are looked at for one lane's batch, from the newest segment on: about a second.
pub const LOOKUP_BATCHES_MAX: usize = 1_000_000;

/// A lane's segments, in bytes, and with them the steps in which it is trimmed: an eighth of the lane between these.
pub const LANE_SEGMENT_BYTES_MIN: u64 = 1 << 20;
pub const LANE_SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// A lane takes no batch unless this much, and twice what is unresolved in it, is free on the disk: the parts must
/// still fit at their destinations.
pub const LANE_DISK_RESERVE_BYTES: u64 = 64 << 20;

/// The free space is asked for again after so many bytes of entries.
pub const LANE_DISK_CHECK_BYTES: u64 = 4 << 20;

/// Bytes of entries that the forwarder reads in one pass, and at least one entry.
pub const PASS_BYTES_MAX: usize = 1 << 20;

/// Groups that may be under way from one lane to one destination.
pub const GROUPS_IN_FLIGHT_MAX: usize = 2;

/// Bytes that may be under way from one lane to one destination.
pub const GROUP_BYTES_IN_FLIGHT_MAX: u64 = 4 << 20;

/// A destination that refused is asked again after this, doubled with each refusal up to the second.
pub const RETRY_MS_MIN: u64 = 20;
pub const RETRY_MS_MAX: u64 = 5_000;

/// Bytes that a thread keeps for decompressing the next batch.
pub const SCRATCH_BYTES_KEPT: usize = 4 << 20;

/// Bytes of batches that one pass builds before it ends: compressed entries can become many times their size.
pub const PASS_BUILT_BYTES_MAX: usize = 8 << 20;

/// A batch of at least this size whose records all go to one place is forwarded as it is; smaller ones are merged,
/// because each batch costs its destination an append.
pub const PASS_THROUGH_BYTES_MIN: usize = 4 << 10;

/// A pass of more bytes than this is built on a thread that may block.
pub const INLINE_PASS_BYTES_MAX: usize = 128 << 10;
