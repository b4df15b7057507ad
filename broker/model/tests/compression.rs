//! The codecs against input made to cost memory, and in the framings that clients of other languages use.

use ottla_model::batch::{BatchError, Compression, Limit, compress, decompress};
use proptest::prelude::*;
use std::io::Write;

const LIMIT: Limit = Limit { bytes_max: 4 << 20, ratio_max: usize::MAX };

fn decompressed(codec: Compression, input: &[u8], limit: Limit) -> Result<Vec<u8>, BatchError> {
    let mut output = b"before".to_vec();
    let done = decompress(codec, input, limit, &mut output);
    assert!(output.starts_with(b"before"));
    assert!(
        output.capacity() <= 2 * limit.allowed(input.len()) + input.len() * 4 + 4096,
        "{}",
        output.capacity()
    );
    done.map(|()| output.split_off(6))
}

fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    compress(codec, None, input, &mut output).expect("default level");
    output
}

proptest! {
    #[test]
    fn what_is_compressed_is_decompressed(piece: Vec<u8>, times in 0..2000usize) {
        let input = piece.repeat(times.min((1 << 20) / (piece.len() + 1)));
        for codec in Compression::ALL {
            prop_assert_eq!(&decompressed(codec, &compressed(codec, &input), LIMIT).expect("its own output"), &input);
        }
    }

    #[test]
    fn any_bytes_are_survived(input: Vec<u8>, codec in prop::sample::select(Compression::ALL.to_vec())) {
        let _ = decompressed(codec, &input, LIMIT);
    }

    #[test]
    fn any_damage_is_survived(at: prop::sample::Index, flip in 1..=255u8) {
        for codec in Compression::ALL {
            let mut input = compressed(codec, &b"some words, some words, and more words".repeat(50));
            let at = at.index(input.len());
            input[at] ^= flip;
            let _ = decompressed(codec, &input, LIMIT);
            let _ = decompressed(codec, &input[..at], LIMIT);
        }
    }
}

#[test]
fn a_bomb_is_stopped_by_size_and_by_ratio() {
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Snappy] {
        let bomb = compressed(codec, &zeros);
        let by_size = decompressed(codec, &bomb, LIMIT).expect_err("64 MiB of 4 allowed");
        assert_eq!(by_size, BatchError::Inflated { compressed: bomb.len(), allowed: 4 << 20 }, "{codec}");
        let by_ratio = decompressed(codec, &bomb, Limit { bytes_max: usize::MAX, ratio_max: 10 });
        assert!(matches!(by_ratio, Err(BatchError::Inflated { .. })), "{codec}");
        let allowed = Limit { bytes_max: 64 << 20, ratio_max: usize::MAX };
        assert_eq!(decompressed(codec, &bomb, allowed).map(|bytes| bytes.len()), Ok(64 << 20), "{codec}");
    }
}

#[test]
fn a_high_ratio_is_fine_while_it_is_small() {
    let zeros = vec![0; 1 << 20];
    for codec in Compression::ALL {
        let limit = Limit { bytes_max: 1 << 20, ratio_max: 1 };
        assert!(decompressed(codec, &compressed(codec, &zeros), limit).as_ref() == Ok(&zeros), "{codec}");
    }
}

/// As a stream writes it: the frame does not say how much it holds.
fn zstd_stream(input: &[u8], window_log: Option<u32>) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("level 3");
    if let Some(window_log) = window_log {
        encoder.window_log(window_log).expect("a legal window");
    }
    encoder.write_all(input).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn zstd_without_a_stated_size_is_read_and_bounded() {
    let text = b"the same words again and again, ".repeat(60_000);
    for window_log in [None, Some(27)] {
        let input = zstd_stream(&text, window_log);
        assert!(decompressed(Compression::Zstd, &input, LIMIT).as_ref() == Ok(&text));
        let small = Limit { bytes_max: text.len() - 1, ratio_max: usize::MAX };
        assert!(matches!(decompressed(Compression::Zstd, &input, small), Err(BatchError::Inflated { .. })));
        let exact = Limit { bytes_max: text.len(), ratio_max: usize::MAX };
        assert!(decompressed(Compression::Zstd, &input, exact).as_ref() == Ok(&text));
    }
    assert_eq!(decompressed(Compression::Zstd, &zstd_stream(b"", None), LIMIT), Ok(Vec::new()));
}

#[test]
fn what_comes_in_pieces_is_read_whole() {
    let (one, two) = (b"one ".repeat(100), b"two ".repeat(100_000));
    let whole = [one.as_slice(), two.as_slice()].concat();
    for codec in [Compression::Gzip, Compression::Zstd] {
        let pieces = [compressed(codec, &one), compressed(codec, &two)].concat();
        assert!(decompressed(codec, &pieces, LIMIT).as_ref() == Ok(&whole), "{codec}");
    }
}

#[test]
fn snappy_is_read_with_and_without_its_frame() {
    let text = b"a few words ".repeat(10_000);
    let framed = compressed(Compression::Snappy, &text);
    assert_eq!(framed[..16], [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let bare = snap::raw::Encoder::new().compress_vec(&text).expect("small");
    assert!(decompressed(Compression::Snappy, &bare, LIMIT).as_ref() == Ok(&text));
    for cut in [8, 15, 17, 19, 40] {
        assert!(decompressed(Compression::Snappy, &framed[..cut], LIMIT).is_err(), "{cut}");
    }
    // A block of four bytes that claims 4 GiB.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let refused = decompressed(Compression::Snappy, &claim, Limit::default());
    assert!(matches!(refused, Err(BatchError::Inflated { .. })));
}

#[test]
fn lz4_is_read_with_checksums_and_without_linked_blocks() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let text = b"a few words ".repeat(50_000);
    for (mode, size) in
        [(BlockMode::Linked, BlockSize::Max256KB), (BlockMode::Independent, BlockSize::Max4MB)]
    {
        let info = FrameInfo::new()
            .block_mode(mode)
            .block_size(size)
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(text.len() as u64));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&text).expect("memory");
        let mut input = encoder.finish().expect("memory");
        let read = decompressed(Compression::Lz4, &input, LIMIT);
        if mode == BlockMode::Linked {
            let reason = read.expect_err("Java's consumers would not read it").to_string();
            assert!(reason.contains("independent blocks"), "{reason}");
            continue;
        }
        assert!(read.as_ref() == Ok(&text));
        let last = input.len() - 1;
        input[last] ^= 1;
        assert!(matches!(decompressed(Compression::Lz4, &input, LIMIT), Err(BatchError::Compressed { .. })));
    }
}

#[test]
fn levels_are_the_codecs_own() {
    let text = b"a few words ".repeat(1_000);
    for (codec, level) in
        [(Compression::Gzip, 9), (Compression::Gzip, -1), (Compression::Zstd, 19), (Compression::Zstd, -5)]
    {
        let mut output = Vec::new();
        compress(codec, Some(level), &text, &mut output).expect("a level that it has");
        assert!(decompressed(codec, &output, LIMIT).as_ref() == Ok(&text));
    }
    assert!(compress(Compression::Gzip, Some(10), &text, &mut Vec::new()).is_err());
}
