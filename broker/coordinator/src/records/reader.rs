//! Reads the fields of one key or value of `__consumer_offsets`. The codecs stand before it; the bytes come from a log,
//! so nothing is believed: a count is held against what is left before anything is allocated for it.

use ottla_model::ids::TopicId;
use uuid::Uuid;

/// The bytes are not what their version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("{0} ends before its fields do")]
    Short(&'static str),
    #[error("{0} has a length or count that cannot be")]
    Length(&'static str),
    #[error("{0} holds text that is not UTF-8")]
    Text(&'static str),
    #[error("{what} has version {version}, which is not known: it was written by a later broker")]
    Version { what: &'static str, version: i16 },
}

/// What is left of a key or value. `flexible` says how its version writes lengths: compact, with tagged fields, or not.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// `what` names the schema in errors.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what, flexible: false }
    }

    /// The version that stands first in each value; from `flexible_from` on, what follows is compact.
    pub(crate) fn version(&mut self, highest: i16, flexible_from: i16) -> Result<i16, ReplayError> {
        let version = self.i16()?;
        if !(0..=highest).contains(&version) {
            return Err(ReplayError::Version { what: self.what, version });
        }
        self.flexible = version >= flexible_from;
        Ok(version)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ReplayError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ReplayError::Short(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReplayError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ReplayError::Short(self.what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, ReplayError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ReplayError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ReplayError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, ReplayError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn topic_id(&mut self) -> Result<TopicId, ReplayError> {
        Ok(TopicId(Uuid::from_bytes(self.array()?)))
    }

    fn varint(&mut self) -> Result<u32, ReplayError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let part = u32::from(byte & 0x7f);
            if shift == 28 && part > 0b1111 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ReplayError::Length(self.what))
    }

    /// A length as this version writes it; none stands for null.
    fn length(&mut self, short: bool) -> Result<Option<usize>, ReplayError> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else if short {
            i64::from(self.i16()?)
        } else {
            i64::from(self.i32()?)
        };
        match length {
            -1 => Ok(None),
            0.. => Ok(Some(length as usize)),
            _ => Err(ReplayError::Length(self.what)),
        }
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<&'a str>, ReplayError> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| ReplayError::Text(self.what))?;
        Ok(Some(text))
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, ReplayError> {
        self.nullable_string()?.ok_or(ReplayError::Length(self.what))
    }

    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, ReplayError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        self.take(length).map(Some)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ReplayError> {
        self.nullable_bytes()?.ok_or(ReplayError::Length(self.what))
    }

    /// How many entries of at least `size_min` bytes follow; none for null.
    pub(crate) fn nullable_count(&mut self, size_min: usize) -> Result<Option<usize>, ReplayError> {
        match self.length(false)? {
            Some(count) if count.saturating_mul(size_min.max(1)) > self.rest.len() => {
                Err(ReplayError::Short(self.what))
            }
            count => Ok(count),
        }
    }

    pub(crate) fn count(&mut self, size_min: usize) -> Result<usize, ReplayError> {
        self.nullable_count(size_min)?.ok_or(ReplayError::Length(self.what))
    }

    pub(crate) fn each<T>(
        &mut self,
        size_min: usize,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, ReplayError>,
    ) -> Result<Vec<T>, ReplayError> {
        (0..self.count(size_min)?).map(|_| read(self)).collect()
    }

    pub(crate) fn i32s(&mut self) -> Result<Vec<i32>, ReplayError> {
        self.each(4, Reader::i32)
    }

    /// The tagged fields that end a structure of a flexible version: `known` reads those that it names, others are
    /// passed over.
    pub(crate) fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let mut field = Reader { rest: self.take(size)?, what: self.what, flexible: true };
            known(tag, &mut field)?;
        }
        Ok(())
    }

    pub(crate) fn no_tags(&mut self) -> Result<(), ReplayError> {
        self.tags(|_, _| Ok(()))
    }
}
