//! The borrowed walk over a batch's records: the hot path of every plugin and of every consumer of ours.
//! It stands between a decompressed records area and whoever looks at keys, values and headers. It allocates
//! nothing, checks every length against the bytes that are there, and yields exactly as many records as the batch
//! claims or an error. Offset deltas are passed on as they are: Kafka does not check those of uncompressed batches.

use super::fault::BatchError;
use super::varint::{read_i32, read_i64, read_short};
use crate::bounds::{RECORD_BYTES_MIN, RECORD_HEADER_BYTES_MIN};

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka so far; carried along.
    pub attributes: i8,
    /// To be added to the batch's base timestamp, wrapping: any pair of timestamps has a difference.
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// Key, value and headers as they stand in the batch, to be copied behind new deltas.
    pub body: &'a [u8],
}

/// The headers of a record, in their order, repeated keys included. They were checked by the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// A string by Kafka's definition; nobody checks it for UTF-8.
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// Iterates over the records of an uncompressed records area. After an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    /// What was not walked yet.
    left: &'a [u8],
    index: u32,
    count: u32,
}

impl<'a> Records<'a> {
    /// Walks `area`, which must hold exactly `record_count` records.
    ///
    /// # Errors
    /// `CountMismatch` for a count that the area cannot hold, before anything is walked.
    pub fn new(area: &'a [u8], record_count: i32) -> Result<Records<'a>, BatchError> {
        let most = (area.len() / RECORD_BYTES_MIN) as u32;
        match u32::try_from(record_count) {
            Ok(count) if count <= most => Ok(Records { left: area, index: 0, count }),
            claimed => Err(BatchError::CountMismatch { claimed: claimed.unwrap_or(0), found: most }),
        }
    }

    /// Reads a record without headers whose lengths and deltas take at most two bytes each, which nearly all are. None
    /// for any other and for any fault, and then nothing was read.
    #[inline(always)]
    fn read_common(&mut self) -> Option<Record<'a>> {
        let (length, rest) = read_short(self.left)?;
        let (bytes, left) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let (&attributes, rest) = bytes.split_first()?;
        let (timestamp_delta, rest) = read_short(rest)?;
        let (offset_delta, body) = read_short(rest)?;
        let (key, rest) = read_short_bytes(body)?;
        let (value, rest) = read_short_bytes(rest)?;
        if rest != [0] {
            return None;
        }
        self.left = left;
        let headers = Headers { count: 0, bytes: &[] };
        let (attributes, timestamp_delta) = (attributes as i8, i64::from(timestamp_delta));
        Some(Record { attributes, timestamp_delta, offset_delta, key, value, headers, body })
    }

    /// The next record of any kind, the end, or the fault.
    #[inline(never)]
    fn next_any(&mut self) -> Option<Result<Record<'a>, BatchError>> {
        if self.index == self.count {
            if self.left.is_empty() {
                return None;
            }
            // Ends the iteration: bytes are left, so there are more records than the header says.
            self.left = &[];
            return Some(Err(BatchError::CountMismatch { claimed: self.count, found: self.count + 1 }));
        }
        if self.left.is_empty() {
            let error = BatchError::CountMismatch { claimed: self.count, found: self.index };
            self.index = self.count;
            return Some(Err(error));
        }
        let record = self.index;
        match self.read_any() {
            Ok(read) => {
                self.index += 1;
                Some(Ok(read))
            }
            Err(what) => {
                self.index = self.count;
                self.left = &[];
                Some(Err(BatchError::Record { record, what }))
            }
        }
    }

    fn read_any(&mut self) -> Result<Record<'a>, &'static str> {
        const CUT: &str = "it is cut off, or one of its numbers is too wide";
        let mut at = 0;
        let length = read_i32(self.left, &mut at).ok_or(CUT)?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let rest = self.left.get(at..).ok_or(CUT)?;
        let (bytes, left) = rest.split_at_checked(length).ok_or("its length exceeds the batch")?;
        self.left = left;

        let attributes = *bytes.first().ok_or(CUT)? as i8;
        let mut at = 1;
        let timestamp_delta = read_i64(bytes, &mut at).ok_or(CUT)?;
        let offset_delta = read_i32(bytes, &mut at).ok_or(CUT)?;
        let body = bytes.get(at..).ok_or(CUT)?;
        let key = read_bytes(bytes, &mut at).ok_or("its key exceeds the record")?;
        let value = read_bytes(bytes, &mut at).ok_or("its value exceeds the record")?;
        let header_count = read_i32(bytes, &mut at).ok_or(CUT)?;
        let header_bytes = bytes.get(at..).ok_or(CUT)?;
        let headers = if header_count == 0 {
            if !header_bytes.is_empty() {
                return Err("bytes follow its last field");
            }
            Headers { count: 0, bytes: &[] }
        } else {
            check_headers(header_bytes, header_count)?
        };
        Ok(Record { attributes, timestamp_delta, offset_delta, key, value, headers, body })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index < self.count
            && let Some(record) = self.read_common()
        {
            self.index += 1;
            return Some(Ok(record));
        }
        self.next_any()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // An error may come earlier, and one more item if bytes are left at the end.
        let left = (self.count - self.index) as usize;
        (0, Some(left + 1))
    }
}

/// Bytes whose length takes at most two bytes, or null, and what follows them.
#[inline(always)]
fn read_short_bytes(from: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = read_short(from)?;
    match usize::try_from(length) {
        Ok(length) => rest.split_at_checked(length).map(|(taken, rest)| (Some(taken), rest)),
        Err(_) => (length == -1).then_some((None, rest)),
    }
}

/// A length and that many bytes; a length of -1 is null, any other negative one is wrong.
/// The outer option is none where they are not there.
#[inline(always)]
fn read_bytes<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = read_i32(bytes, at)?;
    if length < 0 {
        return (length == -1).then_some(None);
    }
    let end = at.checked_add(length as usize)?;
    let read = bytes.get(*at..end)?;
    *at = end;
    Some(Some(read))
}

#[inline(never)]
fn check_headers(bytes: &[u8], count: i32) -> Result<Headers<'_>, &'static str> {
    const WRONG: &str = "one of its headers exceeds the record";
    let count = u32::try_from(count).map_err(|_| "its header count is negative")?;
    if count as usize > bytes.len() / RECORD_HEADER_BYTES_MIN {
        return Err("its header count exceeds the record");
    }
    let mut at = 0;
    for _ in 0..count {
        read_bytes(bytes, &mut at).ok_or(WRONG)?.ok_or("a header's key is null")?;
        read_bytes(bytes, &mut at).ok_or(WRONG)?;
    }
    if at != bytes.len() {
        return Err("bytes follow its last field");
    }
    Ok(Headers { count, bytes })
}

impl<'a> Headers<'a> {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { left: self.count, bytes: self.bytes, at: 0 }
    }

    /// The value of the last header of that key, which is the one that counts; the inner option is its null.
    pub fn last(&self, key: &[u8]) -> Option<Option<&'a [u8]>> {
        self.iter().filter(|header| header.key == key).last().map(|header| header.value)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = RecordHeader<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    left: u32,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        self.left = self.left.checked_sub(1)?;
        let key = read_bytes(self.bytes, &mut self.at)??;
        let value = read_bytes(self.bytes, &mut self.at)?;
        Some(RecordHeader { key, value })
    }
}
