//! Sockets: accepts connections, turns bytes into frames and answers into bytes, within bounds. Operators' limits come
//! in as `Limits`; every other bound is a constant below.

mod budget;
mod connection;
mod front;
mod gate;
mod input;
mod listener;
mod output;
mod residency;

pub use budget::Budget;
pub use front::{Front, Serving};
pub use gate::{Gate, Quotas};
pub use listener::{Listener, raise_open_files_limit};

use std::time::Duration;

/// What an operator sets, for all connections of a broker.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`
    pub idle_max: Duration,
    /// `socket.send.buffer.bytes`; none leaves it to the system
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; none leaves it to the system
    pub receive_buffer_bytes: Option<usize>,
    /// `socket.listen.backlog.size`
    pub backlog: u32,
}

/// A connection's buffer up to here is its own; above, each byte is charged to the broker's budget.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// Requests of one connection that have taken their place and wait for their answer.
pub(crate) const REQUESTS_PENDING_MAX: usize = 128;

/// With so much waiting to be sent, a connection handles nothing more until the client has read.
pub(crate) const OUTPUT_BYTES_HIGH: usize = 1 << 20;

/// Answers are sent at the latest when so much has come together.
pub(crate) const OUTPUT_BYTES_FLUSH: usize = 64 << 10;

/// Pieces handed to the kernel in one call.
pub(crate) const PIECES_PER_WRITE_MAX: usize = 32;

/// How often a connection looks whether it has been idle, and gives its empty buffers back.
pub(crate) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(5);

/// A client whose half frame grows by less than this between two looks counts as idle: a trickle keeps no buffer alive.
pub(crate) const PROGRESS_BYTES_MIN: usize = 16 << 10;

/// How long an ending server waits for a client to take the answers that are ready.
pub(crate) const LAST_FLUSH_MAX: Duration = Duration::from_millis(200);

/// Pause after the system refused a new connection for want of file descriptors or memory.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
