//! Every bound of this crate, each with what it protects from.

/// Commits that a window holds at most: a judgement compares each with each. `ottla.monitor.window` takes up to this.
pub const WINDOW_MAX: usize = 100;

/// A longer name of a group or topic is not watched: names are memory that a client chooses.
pub const NAME_BYTES_MAX: usize = 1_024;

/// A consumer is never called stopped or stalled for less than this, however fast it committed before.
pub const QUIET_MS_MIN: i64 = 10_000;

/// How many of its longest waits a consumer may be silent for before it counts as stopped.
pub const WAITS: i64 = 3;

/// Up to this, a consumer may be silent for as long as its whole window took, as in Burrow.
pub const SPAN_MS: i64 = 60_000;

/// How long a consumer may be silent of which hardly anything is known yet.
pub const STRANGER_MS: i64 = 600_000;

/// So many commits make a consumer known.
pub const KNOWN_COMMITS: usize = 3;
