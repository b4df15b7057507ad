//! Walks a response by its schema before kafka-protocol's decoder sees it. The decoder allocates what a count asks
//! for; after this walk every count is borne out by bytes that are there, so a broken or hostile broker costs memory
//! in proportion to the frame it sent.

use crate::bounds::{DEPTH_MAX, UNKNOWN_TAGS_MAX};

/// What a structure consists of, in order.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// So many bytes of numbers, ids, booleans.
    Fixed(usize),
    /// A string or bytes behind a varint of length + 1, 0 for null.
    Compact,
    /// A string behind an i16.
    Text,
    /// Structures behind a varint of count + 1, 0 for null.
    Array(&'static [Field]),
    /// Structures behind an i32.
    LongArray(&'static [Field]),
    /// A structure behind a byte that is 1 where it is there.
    Optional(&'static [Field]),
    /// Tagged fields: the known ones with their content.
    Tags(&'static [(u32, &'static [Field])]),
}

/// No known tags.
pub const TAGS: Field = Field::Tags(&[]);

/// Walks the whole of `bytes`.
///
/// # Errors
/// Says what does not fit.
pub fn check(schema: &[Field], bytes: &[u8]) -> Result<(), &'static str> {
    let mut walk = Walk { bytes };
    walk.fields(schema, 0)?;
    if walk.bytes.is_empty() { Ok(()) } else { Err("bytes follow its last field") }
}

struct Walk<'a> {
    bytes: &'a [u8],
}

const CUT: &str = "it is cut off";
const COUNT: &str = "a count exceeds what it holds";

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field], depth: u32) -> Result<(), &'static str> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep");
        }
        fields.iter().try_for_each(|field| self.field(field, depth))
    }

    fn field(&mut self, field: &Field, depth: u32) -> Result<(), &'static str> {
        match field {
            Field::Fixed(size) => self.skip(*size),
            Field::Compact => match self.varint()? {
                0 => Ok(()),
                length => self.skip(length as usize - 1),
            },
            // Below 0 stands for null.
            Field::Text => {
                let length = i16::from_be_bytes(self.take()?);
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Field::Array(element) => match self.varint()? {
                0 => Ok(()),
                count => self.elements(element, count as usize - 1, depth),
            },
            Field::LongArray(element) => {
                let count = i32::from_be_bytes(self.take()?);
                if count < 0 { Ok(()) } else { self.elements(element, count as usize, depth) }
            }
            Field::Optional(fields) => match i8::from_be_bytes(self.take()?) {
                1 => self.fields(fields, depth + 1),
                // As the decoder takes it.
                _ => Ok(()),
            },
            Field::Tags(known) => self.tags(known, depth),
        }
    }

    fn elements(&mut self, element: &[Field], count: usize, depth: u32) -> Result<(), &'static str> {
        // Each element takes at least a byte a field, so the loop ends with the bytes at the latest.
        if count > self.bytes.len() / element.len().max(1) {
            return Err(COUNT);
        }
        (0..count).try_for_each(|_| self.fields(element, depth + 1))
    }

    fn tags(&mut self, known: &[(u32, &[Field])], depth: u32) -> Result<(), &'static str> {
        let count = self.varint()?;
        if count > UNKNOWN_TAGS_MAX {
            return Err("it has too many tagged fields");
        }
        for _ in 0..count {
            let (tag, size) = (self.varint()?, self.varint()? as usize);
            let content = self.bytes.get(..size).ok_or(CUT)?;
            if let Some((_, fields)) = known.iter().find(|(number, _)| *number == tag) {
                let mut inside = Walk { bytes: content };
                inside.fields(fields, depth + 1)?;
                if !inside.bytes.is_empty() {
                    return Err("bytes follow a tagged field");
                }
            }
            self.skip(size)?;
        }
        Ok(())
    }

    fn skip(&mut self, size: usize) -> Result<(), &'static str> {
        self.bytes = self.bytes.get(size..).ok_or(CUT)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(CUT)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u32, &'static str> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("one of its numbers is too wide")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &[Field] = &[Field::Fixed(2), Field::Compact, TAGS];

    #[test]
    fn what_fits_passes() {
        assert_eq!(check(PAIR, &[0, 0, 3, b'a', b'b', 0]), Ok(()));
        assert_eq!(check(PAIR, &[0, 0, 0, 1, 9, 2, 7, 7]), Ok(()));
        assert_eq!(check(&[Field::Array(PAIR)], &[3, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        assert_eq!(check(&[Field::LongArray(&[Field::Fixed(1)])], &[0, 0, 0, 2, 1, 2]), Ok(()));
        assert_eq!(check(&[Field::Text, Field::Text], &[0, 1, b'a', 0xff, 0xff]), Ok(()));
        assert_eq!(check(&[Field::Optional(&[Field::Fixed(2)])], &[1, 0, 0]), Ok(()));
        assert_eq!(check(&[Field::Optional(&[Field::Fixed(2)])], &[0xff]), Ok(()));
    }

    #[test]
    fn a_count_without_its_elements_is_refused() {
        // As a decoder would take it: room for 309 GB.
        assert_eq!(check(&[Field::Array(PAIR)], &[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(COUNT));
        assert_eq!(check(&[Field::LongArray(PAIR)], &[0x7f, 0xff, 0xff, 0xff, 0]), Err(COUNT));
        assert_eq!(check(&[Field::Array(PAIR)], &[5, 0, 0, 0, 0]), Err(COUNT));
    }

    #[test]
    fn cut_and_trailing_bytes_are_refused() {
        let whole = [0, 0, 3, b'a', b'b', 1, 9, 2, 7, 7];
        for cut in 0..whole.len() {
            assert!(check(PAIR, &whole[..cut]).is_err(), "{cut}");
        }
        assert!(check(PAIR, &[0, 0, 0, 0, 0]).is_err());
        assert!(check(PAIR, &[0, 0, 0x80, 0x80, 0x80, 0x80, 0x10]).is_err());
        assert!(check(PAIR, &[0, 0, 0, 65]).is_err());
        assert!(check(&[Field::Text], &[0x7f, 0xff, b'a']).is_err());
        assert!(check(&[Field::Optional(&[Field::Fixed(2)])], &[1, 0]).is_err());
        assert!(check(&[Field::Optional(&[Field::Fixed(2)])], &[2, 0, 0]).is_err());
    }

    #[test]
    fn known_tags_are_walked() {
        let schema = &[Field::Tags(&[(3, &[Field::Array(PAIR)])])];
        assert_eq!(check(schema, &[1, 3, 1, 1]), Ok(()));
        assert_eq!(check(schema, &[1, 3, 2, 9, 0]), Err(COUNT));
        assert!(check(schema, &[1, 3, 2, 1, 0]).is_err());
    }
}
