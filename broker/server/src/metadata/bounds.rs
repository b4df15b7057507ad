//! The bounds of the metadata log, by name.

/// Entries after a snapshot that lead to the next one.
pub const SNAPSHOT_AFTER_ENTRIES: u64 = 1_000;
/// Bytes of the log after a snapshot that lead to the next one, however few entries they are.
pub const SNAPSHOT_AFTER_BYTES: u64 = 64 << 20;
/// Entries below a snapshot that stay in the log.
pub const ENTRIES_KEPT: u64 = 100;
/// Bytes of one segment of the log.
pub const SEGMENT_BYTES: u32 = 8 << 20;
/// Bytes that one read of the log asks the file for; a single entry may be larger.
pub const READ_BYTES: usize = 1 << 20;
/// Bytes of one encoded log entry: the largest command, with room for what surrounds it.
pub const ENTRY_BYTES_MAX: usize = ottla_controller::bounds::COMMAND_BYTES_MAX + (1 << 20);
/// Snapshot files that are kept: the newest, and the one before it while it may still be read.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Bytes that the disk must have free beside what a change writes: for new segments, their indexes and the vote.
pub const RESERVE_BYTES: u64 = 128 << 10;
/// Seconds that a change waits for the disk before its client is told that it may still come about.
pub const CHANGE_WAIT_S: u64 = 60;
/// Seconds that the end of the broker waits for a write of the metadata.
pub const CLOSE_WAIT_S: u64 = 5;
/// How often a change is decided again when another one came between.
pub const DECISIONS_MAX: usize = 8;
/// Milliseconds within which a single voter leads, before the start is given up.
pub const LEADERSHIP_WAIT_MS: u64 = 10_000;
