//! Zigzag varints, in which a record states its lengths and deltas.
//! Every read is checked against the bytes that are there and against the width of its type.

/// Bytes that the longest varint of 64 bits takes.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Reads a number of one or two bytes, and returns what follows it; none for a longer one, or where it is cut off.
#[inline(always)]
pub fn read_short(from: &[u8]) -> Option<(i32, &[u8])> {
    let (&first, rest) = from.split_first()?;
    let (raw, rest) = if first < 0x80 {
        (u32::from(first), rest)
    } else {
        let (&second, rest) = rest.split_first().filter(|(second, _)| **second < 0x80)?;
        (u32::from(first & 0x7f) | u32::from(second) << 7, rest)
    };
    Some(((raw >> 1) as i32 ^ -((raw & 1) as i32), rest))
}

/// Reads an i32 and moves `at` behind it; none where it is cut off or wider than 32 bits.
#[inline(always)]
pub fn read_i32(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    // One byte is by far the commonest: empty keys, deltas, small counts.
    let raw = if first < 0x80 {
        *at += 1;
        u32::from(first)
    } else {
        read_u32_from_second(bytes, at, first)?
    };
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

#[inline(always)]
fn read_u32_from_second(bytes: &[u8], at: &mut usize, first: u8) -> Option<u32> {
    let second = *bytes.get(*at + 1)?;
    let raw = u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7;
    if second < 0x80 {
        *at += 2;
        return Some(raw);
    }
    read_u32_from_third(bytes, at, raw)
}

#[inline(never)]
fn read_u32_from_third(bytes: &[u8], at: &mut usize, mut raw: u32) -> Option<u32> {
    let mut place = *at + 2;
    for shift in [14, 21, 28] {
        let byte = *bytes.get(place)?;
        place += 1;
        if shift == 28 && byte > 0x0f {
            return None;
        }
        raw |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *at = place;
            return Some(raw);
        }
    }
    None
}

/// Reads an i64 and moves `at` behind it; none where it is cut off or wider than 64 bits.
#[inline(always)]
pub fn read_i64(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    let raw = if first < 0x80 {
        *at += 1;
        u64::from(first)
    } else {
        read_u64_slow(bytes, at)?
    };
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline(never)]
fn read_u64_slow(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut raw = 0u64;
    for (index, byte) in bytes.get(*at..)?.iter().take(VARLONG_BYTES_MAX).enumerate() {
        if index == VARLONG_BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *at += index + 1;
            return Some(raw);
        }
    }
    None
}

pub fn write_i32(to: &mut Vec<u8>, value: i32) {
    write_i64(to, i64::from(value));
}

#[inline(always)]
pub fn write_i64(to: &mut Vec<u8>, value: i64) {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    if raw < 0x80 {
        to.push(raw as u8);
    } else if raw < 0x4000 {
        to.extend_from_slice(&[raw as u8 | 0x80, (raw >> 7) as u8]);
    } else {
        write_long(to, raw);
    }
}

#[inline(never)]
fn write_long(to: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        to.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    to.push(raw as u8);
}

/// Bytes that the value takes.
pub fn size_of(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, shift in 0..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_i64(&mut bytes, value);
            prop_assert_eq!(bytes.len(), size_of(value));
            let mut at = 0;
            prop_assert_eq!(read_i64(&bytes, &mut at), Some(value));
            prop_assert_eq!(at, bytes.len());
            let mut at = 0;
            let narrow = read_i32(&bytes, &mut at);
            prop_assert_eq!(narrow, i32::try_from(value).ok());
            let short = read_short(&bytes).map(|(value, rest)| (i64::from(value), rest.len()));
            prop_assert_eq!(short, (bytes.len() <= 2).then_some((value, 0)));
            for cut in 0..bytes.len() {
                prop_assert_eq!(read_i64(&bytes[..cut], &mut 0), None);
                prop_assert_eq!(read_i32(&bytes[..cut], &mut 0), None);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, start in 0usize..20) {
            let mut at = start;
            let _ = read_i32(&bytes, &mut at);
            prop_assert!(at == start || at <= bytes.len());
            let mut at = start;
            let _ = read_i64(&bytes, &mut at);
            prop_assert!(at == start || at <= bytes.len());
        }
    }

    #[test]
    fn too_wide_is_refused() {
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x10], &mut 0), None);
        assert_eq!(read_i32(&[0xff, 0xff, 0xff, 0xff, 0x0f], &mut 0), Some(i32::MIN));
        assert_eq!(read_i32(&[0x80; 6], &mut 0), None);
        assert_eq!(read_i64(&[0xff; 11], &mut 0), None);
        let mut widest = [0xff; 10];
        widest[9] = 1;
        assert_eq!(read_i64(&widest, &mut 0), Some(i64::MIN));
    }
}
