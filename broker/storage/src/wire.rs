//! Reading of big-endian fields from bytes of a small file. The decoders of snapshots stand on it; it never reads
//! beyond the end and never allocates.

/// The bytes end before the field does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Truncated;

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.take().map(u8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, Truncated> {
        self.take().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Truncated> {
        self.take().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.take().map(u32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, Truncated> {
        self.take().map(i64::from_be_bytes)
    }
}
