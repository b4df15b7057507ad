//! What a topic may be called, as Kafka has it: the name becomes part of folder names and of metric names.
//! Asked by whoever creates a topic or meets an unknown one; a name that passes is safe in a path.

use crate::bounds::TOPIC_NAME_CHARS_MAX;
use crate::error::{ErrorCode, KafkaError};

/// Where consumer groups keep their offsets.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Where transactions keep their state.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// Where share groups keep their state.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The folder of the metadata log; no client may create a topic of that name.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";
/// What plugins log.
pub const PLUGIN_LOGS: &str = "__ottla_plugin_logs";

/// What retention plugins erased, without the data.
pub const RETENTION_AUDIT: &str = "__ottla_audit";

/// # Errors
/// INVALID_TOPIC_EXCEPTION with Kafka's reason.
pub fn validate(name: &str) -> Result<(), KafkaError> {
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.len() > TOPIC_NAME_CHARS_MAX {
        let begin: String = name.chars().take(32).collect();
        format!("the length of '{begin}…' is {}, longer than {TOPIC_NAME_CHARS_MAX} characters", name.len())
    } else if let Some(bad) = name.chars().find(|character| !is_legal(*character)) {
        format!(
            "'{name}' contains {bad:?}; only ASCII letters and digits, '.', '_' and '-' are allowed in a topic name"
        )
    } else {
        return Ok(());
    };
    Err(KafkaError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {reason}")))
}

fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Whether two names differ only in `.` and `_`. Metric names hold no period, so their metrics would be one.
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Whether two names may collide at all: one without either character cannot.
pub fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Topics that the broker keeps for itself.
pub fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE, CLUSTER_METADATA, PLUGIN_LOGS, RETENTION_AUDIT]
        .contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        let longest = "a".repeat(TOPIC_NAME_CHARS_MAX);
        for name in ["a", "orders", "Orders.v2_x-1", "...", "__consumer_offsets", &longest] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        let too_long = "a".repeat(TOPIC_NAME_CHARS_MAX + 1);
        for (name, reason) in [
            ("", "empty"),
            (".", "not allowed"),
            ("..", "not allowed"),
            ("a/b", "'/'"),
            ("a b", "' '"),
            ("ä", "'ä'"),
            ("a\0", "'\\0'"),
            (&too_long, "250"),
        ] {
            let refused = validate(name).expect_err(name);
            assert_eq!(refused.code, ErrorCode::InvalidTopicException);
            assert!(refused.message.contains(reason), "{name}: {}", refused.message);
        }
    }

    #[test]
    fn names_collide_by_period_and_underscore() {
        assert!(collide("a.b", "a_b") && collide("a", "a"));
        assert!(!collide("a.b", "a-b") && !collide("a.b", "a.bc"));
        assert!(may_collide("a.b") && !may_collide("ab"));
    }
}
