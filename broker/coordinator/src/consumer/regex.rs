//! Subscriptions by regular expression: RE2's syntax over whole names of topics, resolved by the coordinator. What a
//! pattern costs is bounded by its size and by the number of patterns of a group, as matching runs in linear time.

use std::sync::Arc;

use ::regex::bytes::{Regex, RegexBuilder};

use crate::cluster::Cluster;

/// Patterns of one group. Each is matched with all names of topics when topics change.
pub const PATTERNS_MAX: usize = 256;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4 << 10;
/// Bytes of a compiled pattern: `(a{100}){100}` is a short text.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// Topics that no pattern matches: Kafka's own, of which a subscription to all topics does not think.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// The topics that a pattern stands for (record `ConsumerGroupRegularExpression`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// In order.
    pub topics: Vec<Arc<str>>,
    /// Of the topics at that time.
    pub version: i64,
    pub resolved_ms: i64,
}

/// A pattern that is ready to be matched.
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let refused = |why: &str| {
            Err(format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {why}."))
        };
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "SubscribedTopicRegex has {} bytes; {PATTERN_BYTES_MAX} are the limit.",
                text.len()
            ));
        }
        // By itself first: `)(` would be fine between the parentheses.
        let compiled = build(text).and_then(|_| build(&format!(r"\A(?:{text})\z")));
        match compiled {
            Ok(regex) => Ok(Pattern(regex)),
            Err(::regex::Error::CompiledTooBig(_)) => refused("it is too large"),
            Err(error) => refused(&last_line(&error.to_string())),
        }
    }

    /// Whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name.as_bytes())
    }

    /// All topics that match now.
    pub fn resolve(&self, cluster: &dyn Cluster, wall_ms: i64) -> Resolved {
        let mut topics = Vec::new();
        cluster.each_topic(&mut |topic| {
            if !INTERNAL.contains(&&*topic.name) && self.matches(&topic.name) {
                topics.push(topic.name.clone());
            }
        });
        topics.sort_unstable();
        Resolved { topics, version: cluster.topics_version() as i64, resolved_ms: wall_ms }
    }
}

fn build(text: &str) -> Result<Regex, ::regex::Error> {
    // Names of topics are ASCII, and so are RE2's classes.
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
}

/// The parser draws the pattern with a mark under the place; what it says of it comes last.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-eu", false),
            ("orders.*", "orders-eu", true),
            ("orders|bills", "bills", true),
            ("a|b.", "ab", false),
            (r"t\d+", "t12", true),
            ("", "", true),
            ("", "t", false),
            ("(?i)ORDERS", "orders", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn bad_and_costly_patterns_are_refused() {
        for pattern in ["(", "[a", "*", ")(", "a{1000}{1000}", "(?<=a)b", r"(a)\1", &"a".repeat(5000)] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
        assert_eq!(
            Pattern::new("(").err().unwrap(),
            "SubscribedTopicRegex `(` is not a valid regular expression: unclosed group."
        );
    }
}
