//! What members of a classic group of consumers tell each other through the coordinator: which topics one subscribes to,
//! and which partitions it is given. The coordinator and an administrator see only bytes; these are read without trust.
//! Source: ConsumerProtocolSubscription and ConsumerProtocolAssignment, version 0, whose fields every later version
//! begins with.

use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;

/// Partitions by topic.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// A subscription of version 0.
pub fn encode_subscription(topics: &[&str]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(topics.len() as i32);
    topics.iter().for_each(|topic| put_text(&mut bytes, topic));
    // No user data.
    bytes.put_i32(-1);
    bytes.freeze()
}

/// An assignment of version 0.
pub fn encode_assignment(assignment: &Assignment) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(assignment.len() as i32);
    for (topic, partitions) in assignment {
        put_text(&mut bytes, topic);
        bytes.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| bytes.put_i32(*partition));
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

/// Kafka's names are shorter than an i16 can say.
fn put_text(bytes: &mut BytesMut, text: &str) {
    let text = &text.as_bytes()[..text.len().min(i16::MAX as usize)];
    bytes.put_i16(text.len() as i16);
    bytes.put_slice(text);
}

/// The topics of a subscription; none where the bytes are no subscription.
pub fn decode_subscription(bytes: &[u8]) -> Option<Vec<String>> {
    let mut left = Left(bytes);
    left.number::<2>()?;
    left.list(Left::text)
}

/// The partitions of an assignment, by topic; none where the bytes are no assignment. No bytes are an empty one.
pub fn decode_assignment(bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    let mut left = Left(bytes);
    left.number::<2>()?;
    let topics = left.list(|left| {
        let topic = left.text()?;
        let partitions = left.list(|left| Some(i32::from_be_bytes(left.number()?)))?;
        Some((topic, partitions))
    })?;
    Some(topics.into_iter().collect())
}

struct Left<'a>(&'a [u8]);

impl Left<'_> {
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, left) = self.0.split_first_chunk::<N>()?;
        self.0 = left;
        Some(*number)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(i16::from_be_bytes(self.number()?)).ok()?;
        let (text, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        String::from_utf8(text.to_vec()).ok()
    }

    /// Grows with what is there, so that a count alone costs nothing.
    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = u32::try_from(i32::from_be_bytes(self.number()?)).ok()?;
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let subscription = encode_subscription(&["a", "bc"]);
        assert_eq!(decode_subscription(&subscription), Some(vec!["a".to_owned(), "bc".to_owned()]));
        let assignment: Assignment =
            [("a".to_owned(), vec![0, 2]), ("bc".to_owned(), Vec::new())].into_iter().collect();
        assert_eq!(decode_assignment(&encode_assignment(&assignment)), Some(assignment));
        assert_eq!(decode_assignment(b""), Some(Assignment::new()));
    }

    #[test]
    fn what_later_versions_append_is_passed_over() {
        let later = [&encode_subscription(&["a"])[..], b"owned partitions and more"].concat();
        assert_eq!(decode_subscription(&later), Some(vec!["a".to_owned()]));
    }

    #[test]
    fn no_bytes_are_trusted() {
        let assignment = encode_assignment(&[("topic".to_owned(), vec![0, 1, 2])].into_iter().collect());
        // Without the user data, which nobody reads.
        for cut in 1..assignment.len() - 4 {
            assert_eq!(decode_assignment(&assignment[..cut]), None, "{cut}");
        }
        assert_eq!(decode_assignment(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(decode_subscription(&[0, 0, 0, 0, 0, 1, 0xff, 0xff]), None);
        assert_eq!(decode_subscription(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff]), None);
    }
}
