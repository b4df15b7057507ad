//! Writes the fields of one key or value of `__consumer_offsets`. The codecs stand before it; what it writes goes to
//! the log as it is. Text is at most 32,767 bytes long, which the shard asks of every request before it looks at it.

use bytes::{BufMut, BytesMut};
use ottla_model::ids::TopicId;

/// The longest text that a record can hold, in bytes: its length is written as 16 bits.
pub(crate) const TEXT_BYTES_MAX: usize = i16::MAX as usize;

pub(crate) struct Writer<'a> {
    out: &'a mut BytesMut,
    flexible: bool,
}

impl<'a> Writer<'a> {
    /// Begins with the version, or with the type of a key.
    pub(crate) fn new(out: &'a mut BytesMut, version: i16, flexible: bool) -> Writer<'a> {
        out.put_i16(version);
        Writer { out, flexible }
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    pub(crate) fn topic_id(&mut self, id: TopicId) {
        self.out.put_slice(id.0.as_bytes());
    }

    pub(crate) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    fn compact(&mut self, length: usize) {
        self.varint(u32::try_from(length).expect("what a request brought is below 2 GiB") + 1);
    }

    pub(crate) fn string(&mut self, text: &str) {
        if self.flexible {
            self.compact(text.len());
        } else {
            self.out.put_i16(i16::try_from(text.len()).expect("texts of requests were measured"));
        }
        self.out.put_slice(text.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.out.put_u8(0),
            None => self.out.put_i16(-1),
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.out.put_slice(bytes);
    }

    pub(crate) fn count(&mut self, count: usize) {
        if self.flexible {
            self.compact(count);
        } else {
            self.out.put_i32(i32::try_from(count).expect("what a request brought is below 2 GiB"));
        }
    }

    pub(crate) fn i32s(&mut self, values: &[i32]) {
        self.count(values.len());
        values.iter().for_each(|value| self.i32(*value));
    }

    /// Ends a structure without tagged fields.
    pub(crate) fn no_tags(&mut self) {
        if self.flexible {
            self.out.put_u8(0);
        }
    }

    /// Ends a structure with one tagged field.
    pub(crate) fn tag(&mut self, tag: u32, write: impl FnOnce(&mut Writer<'_>)) {
        let mut field = BytesMut::new();
        write(&mut Writer { out: &mut field, flexible: true });
        self.varint(1);
        self.varint(tag);
        self.varint(u32::try_from(field.len()).expect("what a request brought is below 2 GiB"));
        self.out.put_slice(&field);
    }
}
