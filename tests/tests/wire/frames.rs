//! Makes frames: valid ones of every API and version, from the guard's own table, and damaged ones of those.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, RequestKind};
use ottla_server::dispatch::{APIS, Api, find_api};
use ottla_server::guard::SCHEMAS;
use ottla_server::guard::schema::{Field, Kind, Schema};
use ottla_server::guard::schema_of;
use std::sync::LazyLock;

/// Every API that the guard knows, with the versions that are served, or those that the decoder has where the broker
/// serves none.
pub static GUARDED: LazyLock<Vec<Api>> = LazyLock::new(|| {
    let guarded = SCHEMAS.iter().map(|schema| {
        let served = find_api(APIS, schema.key as i16).copied();
        served.unwrap_or_else(|| {
            let decoded: Vec<i16> = (0..50).filter(|version| is_decoded(schema.key, *version)).collect();
            let (min, max) = (decoded[0], decoded[decoded.len() - 1]);
            Api { key: schema.key, advertised_min: min, decoded_min: min, max, abandonable: false }
        })
    });
    guarded.collect()
});

/// Asks the decoder itself: its table of versions is wider than what it decodes. Zeros claim nothing.
fn is_decoded(key: ApiKey, version: i16) -> bool {
    match RequestKind::decode(key, &mut Bytes::from_static(&[0; 64]), version) {
        Ok(_) => true,
        Err(error) => !format!("{error:#}").contains("version not supported"),
    }
}

/// A small generator whose sequence is fixed by its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// What a generated body may hold.
#[derive(Clone, Copy)]
pub struct Spice {
    pub nulls: bool,
    pub tags: bool,
}

/// Every API's schema with every version.
pub fn every_version() -> impl Iterator<Item = (&'static Schema, i16)> {
    GUARDED.iter().flat_map(|api| {
        let schema = schema_of(api.key).expect("made from the schemas");
        (api.decoded_min..=api.max).map(move |version| (schema, version))
    })
}

/// A body that the schema allows.
pub fn body(schema: &'static Schema, version: i16, random: &mut Random, spice: Spice) -> Vec<u8> {
    let mut writer = Writer { bytes: Vec::new(), version, flexible: version >= schema.flexible, spice };
    writer.group(schema.fields, random);
    writer.bytes
}

/// A whole frame without its length prefix: header, then `body`.
pub fn frame(schema: &Schema, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&(schema.key as i16).to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&7i32.to_be_bytes());
    frame.extend_from_slice(&4i16.to_be_bytes());
    frame.extend_from_slice(b"test");
    if schema.key.request_header_version(version) >= 2 {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame
}

/// One to four changes of the kinds that a broken or hostile client makes.
pub fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.next() as u8),
            4 => {
                let run = [0xff, 0xff, 0xff, 0xff, 0x0f];
                bytes.splice(at..at, run[..=random.below(5)].iter().copied());
            }
            _ => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
}

struct Writer {
    bytes: Vec<u8>,
    version: i16,
    flexible: bool,
    spice: Spice,
}

impl Writer {
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn length(&mut self, length: Option<usize>, wide: bool) {
        if self.flexible {
            self.varint(length.map_or(0, |length| length as u32 + 1));
        } else if wide {
            self.bytes.extend_from_slice(&length.map_or(-1, |length| length as i32).to_be_bytes());
        } else {
            self.bytes.extend_from_slice(&length.map_or(-1, |length| length as i16).to_be_bytes());
        }
    }

    fn is_null(&self, random: &mut Random) -> bool {
        self.spice.nulls && random.one_in(6)
    }

    fn value(&mut self, kind: Kind, random: &mut Random) {
        match kind {
            // A boolean is 0 or 1 when it is written again; nothing else here is one byte and says more.
            Kind::Fixed(1) => self.bytes.push(random.below(2) as u8),
            Kind::Fixed(size) => self.bytes.extend((0..size).map(|_| random.next() as u8)),
            Kind::Text | Kind::Blob | Kind::List(_) if self.is_null(random) => {
                self.length(None, !matches!(kind, Kind::Text));
            }
            Kind::Text | Kind::Blob => {
                let length = random.below(12);
                self.length(Some(length), matches!(kind, Kind::Blob));
                self.bytes.extend((0..length).map(|_| b'a' + random.below(26) as u8));
            }
            Kind::List(element) => {
                let count = random.below(4);
                self.length(Some(count), true);
                for _ in 0..count {
                    self.value(*element, random);
                }
            }
            Kind::Group(fields) => self.group(fields, random),
            Kind::Optional(fields) => {
                let is_there = random.one_in(2);
                self.bytes.push(if is_there { 1 } else { 0xff });
                if is_there {
                    self.group(fields, random);
                }
            }
        }
    }

    fn group(&mut self, fields: &'static [Field], random: &mut Random) {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.value(field.kind, random);
        }
        if self.flexible {
            self.tagged_fields(fields, random);
        }
    }

    fn tagged_fields(&mut self, fields: &'static [Field], random: &mut Random) {
        if !self.spice.tags {
            return self.bytes.push(0);
        }
        let known: Vec<&Field> = fields
            .iter()
            .filter(|field| field.tag.is_some() && field.is_in(self.version) && random.one_in(2))
            .collect();
        let unknown = random.below(3) as u32;
        self.varint(known.len() as u32 + unknown);
        for field in known {
            let flexible = self.flexible;
            let mut own = Writer { bytes: Vec::new(), version: self.version, flexible, spice: self.spice };
            own.value(field.kind, random);
            self.varint(field.tag.expect("filtered above"));
            self.varint(own.bytes.len() as u32);
            self.bytes.append(&mut own.bytes);
        }
        for tag in 0..unknown {
            let length = random.below(5);
            self.varint(1000 + tag);
            self.varint(length as u32);
            self.bytes.extend((0..length).map(|_| random.next() as u8));
        }
    }
}
