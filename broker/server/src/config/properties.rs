//! Reads Java's properties syntax, in which Kafka's `server.properties` is written: comments, continued lines, escapes.
//! The typed config stands behind it. Text is UTF-8. Nothing here knows a key.

/// A larger file is no configuration.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A key with its value, and the line (from 1) on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// Why a text is no properties file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    #[error("it has {size} bytes, more than the {FILE_BYTES_MAX} of any configuration")]
    TooLarge { size: usize },
    #[error("line {line}: not UTF-8")]
    NotUtf8 { line: usize },
    #[error("line {line}: \\u needs four hexadecimal digits of a character behind it")]
    Unicode { line: usize },
    #[error("line {line}: a value without a key")]
    NoKey { line: usize },
}

/// All properties of a text, in order; a key that stands twice is there twice.
pub fn parse(text: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(PropertiesError::TooLarge { size: text.len() });
    }
    let text = std::str::from_utf8(text).map_err(|error| PropertiesError::NotUtf8 {
        line: 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
    })?;
    let mut properties = Vec::new();
    let mut lines = natural_lines(text).zip(1..).peekable();
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(is_space);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while is_continued(&logical) {
            logical.pop();
            let Some((next, _)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_space));
        }
        properties.push(property(&logical, line)?);
    }
    Ok(properties)
}

/// Lines end at `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// An odd number of backslashes at the end joins the next line.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or space that is not escaped.
fn property(logical: &str, line: usize) -> Result<Property, PropertiesError> {
    let mut is_escaped = false;
    let end = logical.find(|c| {
        let ends = !is_escaped && (matches!(c, '=' | ':') || is_space(c));
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let (key, rest) = logical.split_at(end.unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(is_space);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_space);
    let key = unescape(key, line)?;
    if key.is_empty() {
        return Err(PropertiesError::NoKey { line });
    }
    Ok(Property { key, value: unescape(value, line)?, line })
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\x0c'),
            Some('u') => {
                let digits = chars.as_str().get(..4).ok_or(PropertiesError::Unicode { line })?;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex);
                plain.push(code.and_then(char::from_u32).ok_or(PropertiesError::Unicode { line })?);
                chars = chars.as_str()[4..].chars();
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let properties = parse(text.as_bytes()).expect(text);
        properties.into_iter().map(|property| (property.key, property.value)).collect()
    }

    #[test]
    fn the_syntax_is_javas() {
        for (text, expected) in [
            ("", &[][..]),
            ("a=1", &[("a", "1")][..]),
            ("a = 1 \nb:2\r\nc 3\rd\n", &[("a", "1 "), ("b", "2"), ("c", "3"), ("d", "")]),
            ("# a=1\n  ! b=2\n\t\n c=3", &[("c", "3")]),
            ("a=one\\\n   two\\\n  three\nb=4", &[("a", "onetwothree"), ("b", "4")]),
            ("a=ends\\\\\nb=2", &[("a", "ends\\"), ("b", "2")]),
            ("a=last\\", &[("a", "last")]),
            ("a\\=b\\ c=d=e:f", &[("a=b c", "d=e:f")]),
            ("a:=b", &[("a", "=b")]),
            ("a==b", &[("a", "=b")]),
            ("tab=\\t\\n\\r\\f\\q", &[("tab", "\t\n\r\x0cq")]),
            ("u=\\u00e4\\u20acx", &[("u", "ä€x")]),
            ("a=# no comment", &[("a", "# no comment")]),
            ("# continued \\\na=1", &[("a", "1")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expected) in [
            (&b"a=1\nb=\\u12"[..], PropertiesError::Unicode { line: 2 }),
            (b"b=\\u12\xc3\xa4", PropertiesError::Unicode { line: 1 }),
            (b"b=\\u+123", PropertiesError::Unicode { line: 1 }),
            (b"b=\\ud800", PropertiesError::Unicode { line: 1 }),
            (b"a=1\n\n=2", PropertiesError::NoKey { line: 3 }),
            (b"a=1\n\xff", PropertiesError::NotUtf8 { line: 2 }),
            (&vec![b'#'; FILE_BYTES_MAX + 1], PropertiesError::TooLarge { size: FILE_BYTES_MAX + 1 }),
        ] {
            assert_eq!(parse(text), Err(expected));
        }
    }

    #[test]
    fn a_property_knows_where_it_begins() {
        let properties = parse(b"\n#\na=1\\\n2\n\nb=3").expect("well formed");
        assert_eq!(properties.iter().map(|property| property.line).collect::<Vec<_>>(), [3, 6]);
    }
}
