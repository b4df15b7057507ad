//! Every bound that several crates share, each with the threat or the need that it answers.
//! A bound that an operator may change is the default of a config key; the others are fixed.

/// A record batch is at least this long, so a frame cannot hold more batches than its bytes allow.
pub const BATCH_BYTES_MIN: usize = 61;

/// The largest batch that a builder writes: its length field is an i32 that does not count its first 12 bytes.
pub const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// A record in its shortest form: length, attributes, two deltas, two lengths and a header count, a byte each.
/// Divides the bytes of a batch into the most records that they can hold.
pub const RECORD_BYTES_MIN: usize = 7;

/// A record header in its shortest form: the lengths of its key and its value.
pub const RECORD_HEADER_BYTES_MIN: usize = 2;

/// What one batch may become when it is decompressed. 16 KB of zstd can ask for 512 MB.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// How many times its size a compressed batch may become, once it exceeds [`DECOMPRESSION_RATIO_FREE_BYTES`].
/// gzip cannot exceed 1,032 and lz4 255; zstd reaches 30,000 only on input that was made for it.
pub const DECOMPRESSION_RATIO_MAX: usize = 2048;

/// Up to here any ratio is fine: a few constant records compress to almost nothing.
pub const DECOMPRESSION_RATIO_FREE_BYTES: usize = 8 << 20;

/// Producer batches per producer and partition whose repetition is recognised, as in Kafka.
pub const PRODUCER_WINDOW_BATCHES: usize = 5;

/// `max.message.bytes` unless the topic says otherwise: Kafka's default, a batch of 1 MiB with its overhead.
pub const MESSAGE_BYTES_MAX_DEFAULT: i32 = 1_048_588;

/// Characters of a topic name: with a partition number behind it, it is still a file name.
pub const TOPIC_NAME_CHARS_MAX: usize = 249;
