//! Every bound of the client, each with what it protects from.

/// The longest response frame. A fetch answers with as much as was asked for and one batch more.
pub const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// Requests written but not yet answered on one connection; the next one waits.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// Unknown tagged fields of one structure: a newer broker may add a few.
pub const UNKNOWN_TAGS_MAX: u32 = 64;

/// How deep the structures of a response lie in each other.
pub const DEPTH_MAX: u32 = 16;

/// How often a retriable error is met with another attempt.
pub const ATTEMPTS_MAX: u32 = 10;

/// Between two attempts; doubles up to the second one.
pub const BACKOFF_MS_MIN: u64 = 20;
pub const BACKOFF_MS_MAX: u64 = 1_000;

/// Responses that arrive while earlier ones are decoded.
pub const READ_BUFFER_BYTES: usize = 64 << 10;

/// Groups that one request names: an answer has all of their members or offsets.
pub const GROUPS_PER_REQUEST_MAX: usize = 200;
