//! The guard's table against kafka-protocol: both read every valid request alike, and together they neither panic on a
//! damaged one nor take more memory than a bounded multiple of it.

use crate::allocation::counted;
use crate::frames::{GUARDED, Random, Spice, body, damage, every_version, frame};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::RequestKind;
use ottla_server::codec::{Asked, CodecError, decode};
use ottla_server::dispatch::Api;
use ottla_server::guard::{Refused, SCHEMAS};

/// What the guard promises: the decoded request takes at most this many times the frame, and this much besides.
const DECODED_RATIO_MAX: usize = 16;
const DECODED_SLACK_BYTES: usize = (1 << 20) + (64 << 10);

const SEEDS_VALID: u64 = 60;
const SEEDS_DAMAGED: u64 = 600;

fn request(frame: &[u8]) -> Result<RequestKind, CodecError> {
    match decode(&GUARDED, Bytes::copy_from_slice(frame))? {
        (_, Asked::Request(request)) => Ok(request),
        (header, asked) => panic!("{header:?} gave {asked:?}"),
    }
}

#[test]
fn what_the_table_allows_the_decoder_reads_and_writes_back() {
    for (schema, version) in every_version() {
        for seed in 0..SEEDS_VALID {
            let random = &mut Random::new(seed);
            let body = body(schema, version, random, Spice { nulls: false, tags: false });
            let context = format!("{:?} v{version} seed {seed}", schema.key);
            let request =
                request(&frame(schema, version, &body)).unwrap_or_else(|e| panic!("{context}: {e}"));
            let mut written = BytesMut::new();
            request.encode(&mut written, version).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert_eq!(written, body, "{context}");
        }
    }
}

#[test]
fn tagged_fields_are_read_too() {
    for (schema, version) in every_version().filter(|(schema, version)| *version >= schema.flexible) {
        for seed in 0..SEEDS_VALID {
            let body = body(schema, version, &mut Random::new(seed), Spice { nulls: false, tags: true });
            let read = request(&frame(schema, version, &body));
            assert!(read.is_ok(), "{:?} v{version} seed {seed}: {}", schema.key, read.expect_err("not ok"));
        }
    }
}

#[test]
fn nulls_are_never_the_guards_business() {
    for (schema, version) in every_version() {
        for seed in 0..SEEDS_VALID {
            let body = body(schema, version, &mut Random::new(seed), Spice { nulls: true, tags: true });
            if let Err(error) = request(&frame(schema, version, &body)) {
                let is_decoders = matches!(error, CodecError::Decode { .. });
                assert!(is_decoders, "{:?} v{version} seed {seed}: {error}", schema.key);
            }
        }
    }
}

#[test]
fn damaged_requests_cost_no_more_than_their_size_allows() {
    let apis: &[Api] = &GUARDED; // made before anything is counted
    let mut refused = 0;
    for (schema, version) in every_version() {
        for seed in 0..SEEDS_DAMAGED {
            let random = &mut Random::new(seed);
            let mut frame =
                frame(schema, version, &body(schema, version, random, Spice { nulls: true, tags: true }));
            damage(&mut frame, random);
            let frame = Bytes::from(frame);
            let (read, asked_bytes) = counted(|| decode(apis, frame.clone()).is_ok());
            let allowed = DECODED_RATIO_MAX * frame.len() + DECODED_SLACK_BYTES;
            assert!(asked_bytes <= allowed, "{:?} v{version} seed {seed}: {asked_bytes} bytes", schema.key);
            refused += usize::from(!read);
        }
    }
    assert!(refused > 10_000, "the damage did something: {refused}");
}

/// 5 bytes that claim 4 billion topics: the decoder alone would ask for 309 GB and abort the process.
#[test]
fn a_metadata_request_of_five_bytes_cannot_ask_for_memory() {
    let apis: &[Api] = &GUARDED; // made before anything is counted
    let schema = SCHEMAS.iter().find(|schema| schema.key as i16 == 3).expect("Metadata is known");
    let frame = Bytes::from(frame(schema, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]));
    let (read, asked_bytes) = counted(|| decode(apis, frame));
    assert!(matches!(read, Err(CodecError::Refused { refused: Refused::TooLong { .. }, .. })), "{read:?}");
    assert!(asked_bytes < 4096, "{asked_bytes}");
}

/// Elements of two bytes that become a hundred each.
#[test]
fn many_tiny_elements_are_bounded() {
    let apis: &[Api] = &GUARDED; // made before anything is counted
    let schema = SCHEMAS.iter().find(|schema| schema.key as i16 == 3).expect("Metadata is known");
    for count in [1_000u32, 5_000, 20_000, 1_000_000, 20_000_000] {
        let mut body = Vec::new();
        let mut rest = count + 1;
        while rest >= 0x80 {
            body.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        body.push(rest as u8);
        body.extend((0..count).flat_map(|_| [1, 0]));
        body.extend([1, 0, 0, 0]);
        let frame = Bytes::from(frame(schema, 9, &body));
        let (read, asked_bytes) = counted(|| decode(apis, frame.clone()).is_ok());
        assert_eq!(read, count <= 5_000, "{count}");
        assert!(
            asked_bytes <= DECODED_RATIO_MAX * frame.len() + DECODED_SLACK_BYTES,
            "{count}: {asked_bytes}"
        );
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let metadata = SCHEMAS.iter().find(|schema| schema.key as i16 == 3).expect("Metadata is known");
    let fetch = SCHEMAS.iter().find(|schema| schema.key as i16 == 1).expect("Fetch is known");
    let fetch_v12 = |tags: &[u8]| {
        let mut body = vec![0; 4 * 4 + 1 + 4 * 2];
        body.extend([1, 1, 1]);
        body.extend(tags);
        body
    };
    for (schema, version, body, expected) in [
        (metadata, 0, vec![0, 0], Refused::Truncated { at: 0 }),
        (metadata, 0, vec![0xff, 0xff, 0xff, 0xfe], Refused::NegativeLength { at: 0, length: -2 }),
        (metadata, 0, vec![0, 0, 0, 2, 0, 0], Refused::TooLong { at: 0, claimed: 2, remaining: 2 }),
        (metadata, 0, vec![0, 0, 0, 1, 0, 5, b'a'], Refused::TooLong { at: 4, claimed: 5, remaining: 1 }),
        (metadata, 9, vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x01], Refused::Varint { at: 0 }),
        (metadata, 9, vec![0xff, 0xff, 0xff, 0xff, 0x1f], Refused::Varint { at: 0 }),
        (fetch, 12, fetch_v12(&[1, 0, 3, 2, b'a', 9]), Refused::TaggedLength { at: 29, tag: 0 }),
        (fetch, 12, fetch_v12(&[9, 0]), Refused::TooLong { at: 28, claimed: 9, remaining: 1 }),
    ] {
        match request(&frame(schema, version, &body)) {
            Err(CodecError::Refused { refused, .. }) => assert_eq!(refused, expected, "{body:?}"),
            other => panic!("{body:?}: {other:?}"),
        }
    }
}

#[test]
fn bytes_behind_the_end_are_passed_over_as_kafka_does() {
    let metadata = SCHEMAS.iter().find(|schema| schema.key as i16 == 3).expect("Metadata is known");
    assert!(request(&frame(metadata, 0, &[0, 0, 0, 0, 9])).is_ok());
    // librdkafka's request for all topics.
    assert!(request(&frame(metadata, 13, &[0, 0, 0, 0, 0, 0, 0])).is_ok());
}

#[test]
fn headers_are_checked() {
    let header = |key: i16, version: i16, client: &[u8]| {
        let mut frame = Vec::new();
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(1i32.to_be_bytes());
        frame.extend(client);
        frame
    };
    assert!(matches!(request(&[0; 9]), Err(CodecError::HeaderTooShort(9))));
    assert!(matches!(request(&header(999, 0, &[0, 0])), Err(CodecError::UnknownApi(999))));
    for client in [&[0, 5, b'a'][..], &[0x80, 0], &[0, 1, 0xff], &[0xff, 0xfe]] {
        assert!(matches!(request(&header(3, 0, client)), Err(CodecError::ClientId)), "{client:?}");
    }
    let tags_too_long = header(3, 9, &[0, 0, 1, 5, 9]);
    assert!(matches!(request(&tags_too_long), Err(CodecError::Refused { .. })));
    let unsupported = request(&header(3, 99, &[0, 0]));
    assert!(
        matches!(unsupported, Err(CodecError::UnsupportedVersion { version: 99, .. })),
        "{unsupported:?}"
    );
}

/// The fuzzer starts from a valid request of every version; `OTTLA_UPDATE_CORPUS=1` writes them anew.
#[test]
fn the_fuzzers_corpus_holds_every_version() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frame");
    for (schema, version) in every_version() {
        let path = format!("{corpus}/{:?}-v{version}", schema.key);
        if std::env::var_os("OTTLA_UPDATE_CORPUS").is_some() {
            let body = body(schema, version, &mut Random::new(1), Spice { nulls: false, tags: true });
            std::fs::create_dir_all(corpus).expect("the corpus is a folder");
            std::fs::write(&path, frame(schema, version, &body)).expect("it can be written");
        }
        let seed = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let read = request(&seed);
        assert!(read.is_ok(), "{path}: {}", read.expect_err("not ok"));
    }
}
