//! What a topic's configuration means to one log: plain numbers, copied in whole when a config changes. Whoever
//! owns the log translates Kafka's keys into it; nothing here is optional or inherited.

/// Settings of one log. Sizes in bytes, times in milliseconds; -1 means "no limit" where Kafka says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow beyond this is rolled first.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled once its first batch is older than this.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most this much is taken off `segment_ms`, a different amount for each log and segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: how large the offset index or the time index of a segment may become.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry at most every so many bytes of batches.
    pub index_interval_bytes: u32,
    /// `retention.ms`, -1 for no limit.
    pub retention_ms: i64,
    /// `retention.bytes`, -1 for no limit.
    pub retention_bytes: i64,
    /// True if `cleanup.policy` holds `delete`. Without it, only what lies below the log's start is deleted.
    pub cleanup_delete: bool,
    /// `file.delete.delay.ms`: how long a removed file stays on disk under its `.deleted` name.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`: a flush is due after so many records; `i64::MAX` for never.
    pub flush_messages: i64,
    /// `flush.ms`: a flush is due after so much time; `i64::MAX` for never.
    pub flush_ms: i64,
    /// `ottla.flush=always`: a flush is due whenever something is not on the disk.
    pub flush_always: bool,
    /// Whole batches at the end of a segment may be missing by right, as in a lane. Otherwise each segment begins where
    /// the one before it ends, and recovery takes a gap for the trace of a power loss.
    pub has_gaps: bool,
    /// `producer.id.expiration.ms`: a producer that appended nothing for so long is forgotten.
    pub producer_expiration_ms: i64,
}

impl LogConfig {
    /// Whether flushes are asked for at all: always, by number or by time.
    pub fn flushes(&self) -> bool {
        self.flush_always || self.flush_messages < i64::MAX || self.flush_ms < i64::MAX
    }
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> LogConfig {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            cleanup_delete: true,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            flush_always: false,
            has_gaps: false,
            producer_expiration_ms: DAY_MS,
        }
    }
}
