//! Lists as Kafka writes them: items between commas.

/// The items of a list, without the spaces around them; empty ones do not count.
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}
