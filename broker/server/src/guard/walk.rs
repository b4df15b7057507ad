//! The walk itself: follows a schema through a frame and refuses what does not fit. Cost: one pass over lengths, no
//! allocation. Invariant: every step is bounded by the bytes that remain.

use super::schema::{Field, Kind, Schema};
use super::{DECODED_BYTES_MAX, DECODED_RATIO_MAX, DECODED_SLACK_BYTES, ELEMENT_BYTES, TAGGED_FIELD_BYTES};

/// Why a frame was refused; `at` counts bytes from where the walk began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the frame ends within a field at byte {at}")]
    Truncated { at: usize },
    #[error("a length of {length} at byte {at} is neither null nor a length")]
    NegativeLength { at: usize, length: i64 },
    #[error("a length of {claimed} at byte {at} exceeds the {remaining} bytes that remain")]
    TooLong { at: usize, claimed: usize, remaining: usize },
    #[error("a variable-length number at byte {at} does not end within 32 bits")]
    Varint { at: usize },
    #[error("the tagged field {tag} at byte {at} is not as long as it claims")]
    TaggedLength { at: usize, tag: u32 },
    #[error("the request would take {bytes} bytes of memory once decoded, above the limit of {max}")]
    TooMany { bytes: usize, max: usize },
}

/// Checks a request's body against its schema: every count and length fits into what remains, tagged fields are whole.
/// Bytes behind the end are passed over, as Kafka does: librdkafka sends some behind a Metadata request for all topics.
/// `version` must be one that the decoder knows.
pub(crate) fn check_body(schema: &Schema, version: i16, body: &[u8]) -> Result<(), Refused> {
    let mut walk = Walk::new(body, version, version >= schema.flexible);
    walk.group(schema.fields)
}

/// Skips the tagged fields at the end of a request header of version 2; returns how many bytes they take.
pub(crate) fn check_header_tags(bytes: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk::new(bytes, 0, true);
    walk.tagged_fields(&[])?;
    Ok(walk.at)
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    version: i16,
    flexible: bool,
    /// An upper estimate of what the decoder will allocate for what was walked.
    decoded_bytes: usize,
    decoded_bytes_max: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], version: i16, flexible: bool) -> Self {
        let decoded_bytes_max =
            (bytes.len().saturating_mul(DECODED_RATIO_MAX) + DECODED_SLACK_BYTES).min(DECODED_BYTES_MAX);
        Self { bytes, at: 0, version, flexible, decoded_bytes: 0, decoded_bytes_max }
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn skip(&mut self, length: usize) -> Result<(), Refused> {
        if length > self.remaining() {
            return Err(Refused::Truncated { at: self.at });
        }
        self.at += length;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let taken = self.bytes[self.at..].first_chunk::<N>().ok_or(Refused::Truncated { at: self.at })?;
        self.at += N;
        Ok(*taken)
    }

    /// The decoder reads at most five bytes and drops what does not fit into 32 bits; here that is an error.
    fn varint(&mut self) -> Result<u32, Refused> {
        let start = self.at;
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take::<1>()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Refused::Varint { at: start })
    }

    /// A length or count in front of bytes or elements; none for null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, Refused> {
        let start = self.at;
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1).map(|length| length as usize));
        }
        let length = if wide {
            i64::from(i32::from_be_bytes(self.take()?))
        } else {
            i64::from(i16::from_be_bytes(self.take()?))
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| Refused::NegativeLength { at: start, length }),
        }
    }

    fn run(&mut self, wide: bool) -> Result<(), Refused> {
        let start = self.at;
        let claimed = self.length(wide)?.unwrap_or(0);
        let remaining = self.remaining();
        if claimed > remaining {
            return Err(Refused::TooLong { at: start, claimed, remaining });
        }
        self.skip(claimed)
    }

    fn allocate(&mut self, bytes: usize) -> Result<(), Refused> {
        self.decoded_bytes = self.decoded_bytes.saturating_add(bytes);
        if self.decoded_bytes > self.decoded_bytes_max {
            return Err(Refused::TooMany { bytes: self.decoded_bytes, max: self.decoded_bytes_max });
        }
        Ok(())
    }

    fn list(&mut self, element: Kind) -> Result<(), Refused> {
        let start = self.at;
        let count = self.length(true)?.unwrap_or(0);
        let remaining = self.remaining();
        let element_bytes_min = element.size_bytes_min(self.version, self.flexible).max(1);
        if count > remaining / element_bytes_min {
            return Err(Refused::TooLong { at: start, claimed: count, remaining });
        }
        self.allocate(count * element_bytes(element))?;
        if let Kind::Fixed(size) = element {
            return self.skip(count * size);
        }
        for _ in 0..count {
            self.value(element)?;
        }
        Ok(())
    }

    fn value(&mut self, kind: Kind) -> Result<(), Refused> {
        match kind {
            Kind::Fixed(size) => self.skip(size),
            Kind::Text => self.run(false),
            Kind::Blob => self.run(true),
            Kind::List(element) => self.list(*element),
            Kind::Group(fields) => self.group(fields),
            Kind::Optional(fields) => match self.take::<1>()? {
                [1] => self.group(fields),
                _ => Ok(()),
            },
        }
    }

    fn group(&mut self, fields: &'static [Field]) -> Result<(), Refused> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.tag.is_none() && field.is_in(version)) {
            self.value(field.kind)?;
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    /// The decoder trusts the schema and not the size for the tags that it knows; here both must agree.
    fn tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), Refused> {
        let start = self.at;
        let count = self.varint()? as usize;
        let remaining = self.remaining();
        if count > remaining / 2 {
            return Err(Refused::TooLong { at: start, claimed: count, remaining });
        }
        self.allocate(count * TAGGED_FIELD_BYTES)?;
        for _ in 0..count {
            let start = self.at;
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let remaining = self.remaining();
            if size > remaining {
                return Err(Refused::TooLong { at: start, claimed: size, remaining });
            }
            let end = self.at + size;
            match fields.iter().find(|field| field.tag == Some(tag) && field.is_in(self.version)) {
                Some(field) => self.value(field.kind)?,
                None => self.at = end,
            }
            if self.at != end {
                return Err(Refused::TaggedLength { at: start, tag });
            }
        }
        Ok(())
    }
}

fn element_bytes(element: Kind) -> usize {
    match element {
        Kind::Fixed(size) => size,
        _ => ELEMENT_BYTES,
    }
}
