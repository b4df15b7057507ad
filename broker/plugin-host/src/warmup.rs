//! Batches that no client sent and logs that nobody wrote. A freshly attached plugin must answer these before it sees a
//! record: they cover what real ones bring sooner or later (one record, many, null and empty and odd keys, repeated
//! headers; a log that is one empty segment, and a long one).

use crate::columns::Columns;
use crate::judgement::{Progress, SegmentView, Usage};
use crate::topic::Fields;

const SIZES: [u32; 5] = [1, 2, 17, 100, 1000];
/// The time that retention policies are told.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;
const SEGMENT_BYTES: u64 = 1 << 30;

/// A partition's log.
pub(crate) struct Log {
    pub usage: Usage,
    pub segments: Vec<SegmentView>,
    pub groups: Vec<Progress>,
}

/// Logs of growing length; the first has nothing in it.
pub(crate) fn logs() -> impl Iterator<Item = Log> {
    SIZES.into_iter().map(|count| {
        let empty = count == 1;
        let segment = |i: u32| {
            let age_ms = i64::from(count - i) * HOUR_MS;
            SegmentView {
                base_offset: i64::from(i) * 1000,
                next_offset: if empty { 0 } else { i64::from(i + 1) * 1000 },
                records: if empty { 0 } else { 1000 },
                bytes: if empty { 0 } else { SEGMENT_BYTES },
                first_timestamp_ms: if empty { -1 } else { NOW_MS - age_ms },
                max_timestamp_ms: if empty { -1 } else { NOW_MS - age_ms + HOUR_MS },
                active: i + 1 == count,
            }
        };
        let segments: Vec<SegmentView> = (0..count).map(segment).collect();
        let partition_bytes = segments.iter().map(|segment| segment.bytes).sum();
        let group = |i: u32| Progress {
            group: format!("group-{i}"),
            committed_offset: (!i.is_multiple_of(3)).then_some(i64::from(i) * 10),
            committed_ms: NOW_MS - i64::from(i) * HOUR_MS,
        };
        Log {
            usage: Usage {
                partition: count % 7,
                partition_bytes,
                topic_bytes: partition_bytes * 3,
                tenant_bytes: partition_bytes * 10,
            },
            segments,
            groups: (0..count / 10).map(group).collect(),
        }
    })
}

/// The batches for a plugin that reads `fields`, in growing size.
pub(crate) fn batches(fields: Fields) -> impl Iterator<Item = Columns> {
    SIZES.into_iter().map(move |size| batch(size, fields))
}

fn batch(size: u32, fields: Fields) -> Columns {
    let mut columns = Columns::new();
    let long = [0x5a; 600];
    for i in 0..size {
        let text = format!("key-{i}");
        let key: Option<&[u8]> = match i % 7 {
            0 => Some(text.as_bytes()),
            1 => None,
            2 => Some(b""),
            3 => Some(&[0xff, 0x00, 0xc3, 0x28]),
            4 => Some(&long),
            _ => Some(&text.as_bytes()[..4]),
        };
        let value: Option<&[u8]> = match i % 5 {
            0 => None,
            1 => Some(b""),
            2 => Some(b"{\"a\":1}"),
            3 => Some(&[0xff, 0xfe]),
            _ => Some(&long),
        };
        let headers: [(&[u8], Option<&[u8]>); 3] =
            [(b"trace", Some(b"1")), (b"trace", None), (b"", Some(&[0xff]))];
        let timestamp_ms = if i % 11 == 0 { -1 } else { i64::from(i) * 1000 };
        columns.push_record(fields, timestamp_ms, key, value, headers.into_iter().take((i % 4) as usize));
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_in_order_and_end_with_the_active_segment() {
        for Log { usage, segments, .. } in logs() {
            assert!(segments.windows(2).all(|pair| pair[0].next_offset == pair[1].base_offset));
            assert_eq!(segments.iter().position(|segment| segment.active), Some(segments.len() - 1));
            assert_eq!(usage.partition_bytes, segments.iter().map(|segment| segment.bytes).sum::<u64>());
        }
    }

    #[test]
    fn batches_are_sound_and_have_null_keys() {
        let all = Fields::KEYS | Fields::VALUES | Fields::HEADERS | Fields::TIMESTAMPS;
        for columns in batches(all) {
            assert!(columns.is_sound(all));
            assert_eq!(columns.keys.lengths.contains(&-1), columns.count > 1);
        }
    }
}
