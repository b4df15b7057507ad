//! A batch as columns: the form in which records cross into a component. The server fills one of these from the
//! record walk and reuses it; the contract module lowers its slices without another copy on this side.
//!
//! Invariant of everything built by `push_*`: a column that is in use has one entry per record (per header, for the
//! columns of headers), and its bytes are exactly what the lengths sum up to.

use crate::topic::Fields;

/// Records of one call into a component, at most. Part of the contract.
pub const CALL_RECORDS_MAX: usize = 65_536;
/// Bytes of all columns of one call, at most, unless a single record is larger. Part of the contract.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Byte strings laid end to end. A length of -1 is null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    pub lengths: Vec<i32>,
    pub bytes: Vec<u8>,
}

impl Column {
    /// Empties the column and keeps its buffers.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.bytes.clear();
    }

    /// Appends one string, or null. Strings come from record batches and so are shorter than 2 GiB.
    pub fn push(&mut self, item: Option<&[u8]>) {
        match item {
            Some(item) => {
                self.lengths.push(i32::try_from(item.len()).expect("a record batch is shorter than 2 GiB"));
                self.bytes.extend_from_slice(item);
            }
            None => self.lengths.push(-1),
        }
    }

    fn is_sound(&self, entries: usize) -> bool {
        let sum: u64 = self.lengths.iter().map(|&length| u64::from(length.max(0).unsigned_abs())).sum();
        self.lengths.len() == entries && sum == self.bytes.len() as u64
    }
}

/// The headers of all records; `counts[i]` of them belong to record i.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderColumns {
    pub counts: Vec<u32>,
    pub keys: Column,
    pub values: Column,
}

/// One batch. Columns that a plugin does not read may stay empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub count: u32,
    pub keys: Column,
    pub values: Column,
    pub headers: HeaderColumns,
    pub timestamps_ms: Vec<i64>,
}

impl Columns {
    pub fn new() -> Columns {
        Columns::default()
    }

    /// Empties the batch and keeps its buffers.
    pub fn clear(&mut self) {
        self.count = 0;
        self.keys.clear();
        self.values.clear();
        self.headers.counts.clear();
        self.headers.keys.clear();
        self.headers.values.clear();
        self.timestamps_ms.clear();
    }

    /// Gives buffers back that are larger than `bytes_max` in sum, so that one huge batch does not stay in memory.
    pub fn shrink_to(&mut self, bytes_max: usize) {
        if self.capacity_bytes() > bytes_max {
            *self = Columns::default();
        }
    }

    fn capacity_bytes(&self) -> usize {
        let column = |column: &Column| column.bytes.capacity() + column.lengths.capacity() * 4;
        column(&self.keys)
            + column(&self.values)
            + column(&self.headers.keys)
            + column(&self.headers.values)
            + self.headers.counts.capacity() * 4
            + self.timestamps_ms.capacity() * 8
    }

    /// Appends a record for a plugin that reads keys and nothing else.
    pub fn push_key(&mut self, key: Option<&[u8]>) {
        self.count += 1;
        self.keys.push(key);
    }

    /// Appends a record with those of its parts that are in `fields`. The headers' iterator is not run unless
    /// headers are asked for.
    pub fn push_record<'a>(
        &mut self,
        fields: Fields,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        self.count += 1;
        if fields.contains(Fields::KEYS) {
            self.keys.push(key);
        }
        if fields.contains(Fields::VALUES) {
            self.values.push(value);
        }
        if fields.contains(Fields::TIMESTAMPS) {
            self.timestamps_ms.push(timestamp_ms);
        }
        if fields.contains(Fields::HEADERS) {
            let mut count = 0;
            for (key, value) in headers {
                self.headers.keys.push(Some(key));
                self.headers.values.push(value);
                count += 1;
            }
            self.headers.counts.push(count);
        }
    }

    /// True if every column in `fields` fits the number of records.
    pub(crate) fn is_sound(&self, fields: Fields) -> bool {
        let count = self.count as usize;
        let headers: u64 = self.headers.counts.iter().map(|&n| u64::from(n)).sum();
        (!fields.contains(Fields::KEYS) || self.keys.is_sound(count))
            && (!fields.contains(Fields::VALUES) || self.values.is_sound(count))
            && (!fields.contains(Fields::TIMESTAMPS) || self.timestamps_ms.len() == count)
            && (!fields.contains(Fields::HEADERS)
                || (self.headers.counts.len() == count
                    && self.headers.keys.is_sound(headers as usize)
                    && self.headers.values.is_sound(headers as usize)))
    }

    pub(crate) fn view(&self, fields: Fields) -> View<'_> {
        View {
            fields,
            count: self.count,
            keys: self.keys.slice(),
            values: self.values.slice(),
            header_counts: &self.headers.counts,
            header_keys: self.headers.keys.slice(),
            header_values: self.headers.values.slice(),
            timestamps_ms: &self.timestamps_ms,
        }
    }
}

impl Column {
    fn slice(&self) -> Slice<'_> {
        Slice { lengths: &self.lengths, bytes: &self.bytes }
    }
}

/// A part of a column.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice<'a> {
    pub lengths: &'a [i32],
    pub bytes: &'a [u8],
}

impl<'a> Slice<'a> {
    /// Cuts off the first `entries` strings.
    fn split(&mut self, entries: usize) -> Slice<'a> {
        let (lengths, lengths_left) = self.lengths.split_at(entries);
        let size = lengths.iter().map(|&length| length.max(0) as usize).sum();
        let (bytes, bytes_left) = self.bytes.split_at(size);
        *self = Slice { lengths: lengths_left, bytes: bytes_left };
        Slice { lengths, bytes }
    }
}

/// The part of a batch that crosses in one call; only what is in `fields` is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View<'a> {
    pub fields: Fields,
    pub count: u32,
    pub keys: Slice<'a>,
    pub values: Slice<'a>,
    pub header_counts: &'a [u32],
    pub header_keys: Slice<'a>,
    pub header_values: Slice<'a>,
    pub timestamps_ms: &'a [i64],
}

impl<'a> View<'a> {
    /// True if these records fit into one call with such bounds.
    pub(crate) fn fits(&self, records_max: usize, bytes_max: usize) -> bool {
        self.count as usize <= records_max && self.size_bytes() <= bytes_max
    }

    /// What the columns that are meant weigh as they cross.
    fn size_bytes(&self) -> usize {
        let column = |slice: Slice<'_>| slice.bytes.len() + slice.lengths.len() * 4;
        let mut size = 0;
        if self.fields.contains(Fields::KEYS) {
            size += column(self.keys);
        }
        if self.fields.contains(Fields::VALUES) {
            size += column(self.values);
        }
        if self.fields.contains(Fields::TIMESTAMPS) {
            size += self.timestamps_ms.len() * 8;
        }
        if self.fields.contains(Fields::HEADERS) {
            size += self.header_counts.len() * 4 + column(self.header_keys) + column(self.header_values);
        }
        size
    }

    /// Cuts off as many records as one call with such bounds takes, at least one. The columns must be sound.
    pub(crate) fn split_call(&mut self, records_max: usize, bytes_max: usize) -> View<'a> {
        if self.fits(records_max, bytes_max) {
            let whole = *self;
            *self = View { count: 0, ..View::default() };
            return whole;
        }
        let (count, headers) = self.call_extent(records_max, bytes_max);
        let mut part = View { count: count as u32, ..*self };
        self.count -= count as u32;
        if self.fields.contains(Fields::KEYS) {
            part.keys = self.keys.split(count);
        }
        if self.fields.contains(Fields::VALUES) {
            part.values = self.values.split(count);
        }
        if self.fields.contains(Fields::TIMESTAMPS) {
            (part.timestamps_ms, self.timestamps_ms) = self.timestamps_ms.split_at(count);
        }
        if self.fields.contains(Fields::HEADERS) {
            (part.header_counts, self.header_counts) = self.header_counts.split_at(count);
            part.header_keys = self.header_keys.split(headers);
            part.header_values = self.header_values.split(headers);
        }
        part
    }

    /// How many records the next call takes, and how many headers these have.
    fn call_extent(&self, records_max: usize, bytes_max: usize) -> (usize, usize) {
        let entry = |length: i32| 4 + length.max(0) as usize;
        let (mut size, mut headers, mut count) = (0, 0, 0);
        while count < (self.count as usize).min(records_max) {
            let mut record = 0;
            let mut record_headers = 0;
            if self.fields.contains(Fields::KEYS) {
                record += entry(self.keys.lengths[count]);
            }
            if self.fields.contains(Fields::VALUES) {
                record += entry(self.values.lengths[count]);
            }
            if self.fields.contains(Fields::TIMESTAMPS) {
                record += 8;
            }
            if self.fields.contains(Fields::HEADERS) {
                record_headers = self.header_counts[count] as usize;
                let range = headers..headers + record_headers;
                record += 4
                    + self.header_keys.lengths[range.clone()].iter().map(|&n| entry(n)).sum::<usize>()
                    + self.header_values.lengths[range].iter().map(|&n| entry(n)).sum::<usize>();
            }
            if count > 0 && size + record > bytes_max {
                break;
            }
            size += record;
            headers += record_headers;
            count += 1;
        }
        (count, headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Fields {
        Fields::KEYS | Fields::VALUES | Fields::HEADERS | Fields::TIMESTAMPS
    }

    #[test]
    fn only_the_fields_asked_for_are_copied() {
        let mut columns = Columns::new();
        columns.push_record(
            Fields::KEYS,
            7,
            Some(b"k"),
            Some(b"value"),
            std::iter::from_fn(|| panic!("read")),
        );
        assert_eq!((columns.count, columns.keys.bytes.as_slice()), (1, &b"k"[..]));
        assert!(columns.values.lengths.is_empty() && columns.timestamps_ms.is_empty());
        assert!(columns.is_sound(Fields::KEYS) && !columns.is_sound(all()));
    }

    #[test]
    fn a_batch_splits_into_calls_and_loses_nothing() {
        let mut columns = Columns::new();
        let value = vec![7; 1_000_000];
        for i in 0..40u32 {
            let value = (i % 3 != 0).then_some(value.as_slice());
            let headers = (0..i % 4).map(|_| (&b"h"[..], Some(&b"v"[..])));
            columns.push_record(all(), i64::from(i), Some(&i.to_be_bytes()), value, headers);
        }
        let mut rest = columns.view(all());
        assert!(columns.is_sound(all()) && !rest.fits(CALL_RECORDS_MAX, CALL_BYTES_MAX));
        let mut joined = Columns::new();
        let mut calls = 0;
        while rest.count > 0 {
            let part = rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX);
            assert!(part.values.bytes.len() <= CALL_BYTES_MAX);
            joined.count += part.count;
            joined.keys.lengths.extend(part.keys.lengths);
            joined.keys.bytes.extend(part.keys.bytes);
            joined.values.lengths.extend(part.values.lengths);
            joined.values.bytes.extend(part.values.bytes);
            joined.headers.counts.extend(part.header_counts);
            joined.headers.keys.lengths.extend(part.header_keys.lengths);
            joined.headers.keys.bytes.extend(part.header_keys.bytes);
            joined.headers.values.lengths.extend(part.header_values.lengths);
            joined.headers.values.bytes.extend(part.header_values.bytes);
            joined.timestamps_ms.extend(part.timestamps_ms);
            calls += 1;
        }
        assert_eq!(joined, columns);
        assert_eq!(calls, 2);
    }

    #[test]
    fn a_record_beyond_the_bound_comes_by_itself() {
        let mut columns = Columns::new();
        columns.push_key(Some(b"before"));
        columns.push_key(Some(&vec![0; CALL_BYTES_MAX + 1]));
        columns.push_key(Some(b"after"));
        let mut rest = columns.view(Fields::KEYS);
        let counts: Vec<u32> = std::iter::from_fn(|| {
            (rest.count > 0).then(|| rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX).count)
        })
        .collect();
        assert_eq!(counts, [1, 1, 1]);
    }

    #[test]
    fn many_records_split_by_count() {
        let mut columns = Columns::new();
        for _ in 0..CALL_RECORDS_MAX + 1 {
            columns.push_key(None);
        }
        let mut rest = columns.view(Fields::KEYS);
        assert_eq!(rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX).count as usize, CALL_RECORDS_MAX);
        assert_eq!(rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX).count, 1);
        assert_eq!(rest.count, 0);
    }
}
