//! Batches that no client sent. A freshly attached plugin must answer these before it sees a record: they cover what
//! real batches bring sooner or later (one record, many, null and empty and odd keys, repeated headers).

use crate::columns::Columns;
use crate::topic::Fields;

const SIZES: [u32; 5] = [1, 2, 17, 100, 1000];

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
    fn batches_are_sound_and_have_null_keys() {
        let all = Fields::KEYS | Fields::VALUES | Fields::HEADERS | Fields::TIMESTAMPS;
        for columns in batches(all) {
            assert!(columns.is_sound(all));
            assert_eq!(columns.keys.lengths.contains(&-1), columns.count > 1);
        }
    }
}
