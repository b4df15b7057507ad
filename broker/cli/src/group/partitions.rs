//! `TOPIC[:P,..]`: which partitions a command means.

use std::fmt;

/// The most partitions that one option may name by a range.
const RANGE_MAX: i64 = 100_000;

/// A topic's partitions, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    pub topic: String,
    pub chosen: Option<Vec<i32>>,
}

impl Partitions {
    pub fn holds(&self, topic: &str, partition: i32) -> bool {
        self.topic == topic && self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&partition))
    }
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.topic)?;
        let Some(chosen) = &self.chosen else {
            return Ok(());
        };
        let chosen: Vec<_> = chosen.iter().map(i32::to_string).collect();
        write!(f, ":{}", chosen.join(","))
    }
}

/// `orders`, `orders:0,3`, `orders:0-3`, for clap.
pub fn partitions(text: &str) -> Result<Partitions, String> {
    let (topic, chosen) = match text.split_once(':') {
        Some((topic, chosen)) => (topic, Some(chosen)),
        None => (text, None),
    };
    let wrong = || format!("`{text}` is neither TOPIC nor TOPIC:P,.. as orders:0,3 or orders:0-3");
    if topic.is_empty() {
        return Err(wrong());
    }
    let mut indexes = Vec::new();
    for part in chosen.into_iter().flat_map(|chosen| chosen.split(',')) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<i32>(), last.parse::<i32>());
        match (first, last) {
            (Ok(first), Ok(last)) if first <= last && i64::from(last) - i64::from(first) < RANGE_MAX => {
                indexes.extend(first..=last);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(Partitions { topic: topic.to_owned(), chosen: chosen.map(|_| indexes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_read() {
        let chosen = |text: &str| partitions(text).map(|read| read.chosen);
        assert_eq!(chosen("orders"), Ok(None));
        assert_eq!(chosen("orders:0,3"), Ok(Some(vec![0, 3])));
        assert_eq!(chosen("orders:0-2,5"), Ok(Some(vec![0, 1, 2, 5])));
        for wrong in ["", ":1", "orders:", "orders:x", "orders:3-1", "orders:-1", "orders:0-2000000000"] {
            assert!(chosen(wrong).is_err(), "{wrong}");
        }
        let some = partitions("t:1").expect("a place");
        assert!(some.holds("t", 1) && !some.holds("t", 2) && !some.holds("u", 1));
        assert_eq!(some.to_string(), "t:1");
    }
}
