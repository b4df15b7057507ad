//! Base64 of the standard alphabet, for keys in a config that are no text.

/// # Errors
/// What is wrong with the text.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 || digits.len() % 4 == 1 {
        return Err("its length is not a multiple of 4, with = at the end");
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("it has a character that is none of A-Z, a-z, 0-9, + and /"),
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    if bits & ((1 << held) - 1) != 0 {
        return Err("its last character has bits that belong to no byte");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_and_faults_are_found() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYmFy", b"foobar"),
            ("AAEC", &[0, 1, 2]),
            ("+/8=", &[0xfb, 0xff]),
        ] {
            assert_eq!(decode(text).as_deref(), Ok(bytes), "{text}");
        }
        for text in ["Z", "Zg", "Zg=", "Zg===", "====", "Zm9v====", "Z=g=", "Zm9-", "Zh==", "Zm9=", "é==="] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
