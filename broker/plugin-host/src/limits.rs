//! What a plugin may use. The server sets these from `ottla.plugin.*` and may change them while plugins run; every
//! other module reads them through the host's current copy at the start of what they do.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// One limit as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct LimitKey {
    /// The name in `server.properties`.
    pub key: &'static str,
    pub min: u64,
    pub max: u64,
    /// What it bounds and what happens beyond, as one sentence.
    pub doc: &'static str,
}

macro_rules! limits {
    ($($(#[$meta:meta])* $field:ident = $default:expr, $key:literal, $min:expr, $max:expr, $doc:literal;)*) => {
        /// Bounds for each plugin. Fields carry their unit; [`Limits::KEYS`] describes them.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Limits {
            $(#[doc = $doc] #[serde(rename = $key)] pub $field: u64,)*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($field: $default,)* }
            }
        }

        impl Limits {
            /// Every limit, in the order in which the fields stand.
            pub const KEYS: &'static [LimitKey] = &[
                $(LimitKey { key: $key, min: $min, max: $max, doc: $doc },)*
            ];

            /// The value of a limit by its key.
            pub fn get(&self, key: &str) -> Option<u64> {
                match key {
                    $($key => Some(self.$field),)*
                    _ => None,
                }
            }

            fn field(&mut self, key: &str) -> Option<&mut u64> {
                match key {
                    $($key => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

limits! {
    memory_bytes = 64 * MIB, "ottla.plugin.memory.bytes", MIB, 4096 * MIB,
        "Memory of one instance of a plugin, in bytes; an allocation beyond it fails inside the plugin.";
    batch_time_ms = 100, "ottla.plugin.batch.time.ms", 1, 60_000,
        "Time of one call of a plugin, in milliseconds; a call that takes longer is ended.";
    result_bytes = MIB, "ottla.plugin.result.bytes", 64 * 1024, 256 * MIB,
        "Size of what one call of a plugin may return, in bytes; a larger answer fails the call.";
    component_bytes = 32 * MIB, "ottla.plugin.component.bytes", 1024, 1024 * MIB,
        "Size of a component, in bytes; a larger one is refused at upload.";
    compile_time_ms = 60_000, "ottla.plugin.compile.time.ms", 10, 3_600_000,
        "Time to compile a component, in milliseconds; a compilation that takes longer is ended.";
    compile_memory_bytes = 2048 * MIB, "ottla.plugin.compile.memory.bytes", 128 * MIB, 1024 * 1024 * MIB,
        "Address space of the process that compiles a component, in bytes; a compilation that needs more is ended.";
    instances = 8, "ottla.plugin.instances", 1, 1024,
        "Instances of a plugin per topic, and so the number of its calls at the same time; further calls wait.";
    log_bytes_per_s = 64 * 1024, "ottla.plugin.log.bytes.per.second", 0, 1024 * MIB,
        "Log output of a plugin per topic and second, in bytes; lines beyond it are counted and dropped.";
}

/// Why a limit was not set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LimitError {
    #[error("there is no limit {key}; the limits are {known}", known = known_keys())]
    Unknown { key: String },
    #[error("{key}={value} is not a number; give one from {min} to {max}")]
    NotANumber { key: &'static str, value: String, min: u64, max: u64 },
    #[error("{key}={value} is out of range; give a number from {min} to {max}")]
    OutOfRange { key: &'static str, value: u64, min: u64, max: u64 },
}

fn known_keys() -> String {
    Limits::KEYS.iter().map(|limit| limit.key).collect::<Vec<_>>().join(", ")
}

impl Limits {
    /// Sets one limit from text.
    ///
    /// # Errors
    /// An unknown key, text that is no number, or a number out of the limit's range; nothing is changed then.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), LimitError> {
        let known = Self::KEYS.iter().find(|limit| limit.key == key);
        let &LimitKey { key, min, max, .. } =
            known.ok_or_else(|| LimitError::Unknown { key: key.to_owned() })?;
        let number: u64 = value.trim().parse().map_err(|_| LimitError::NotANumber {
            key,
            value: value.to_owned(),
            min,
            max,
        })?;
        if !(min..=max).contains(&number) {
            return Err(LimitError::OutOfRange { key, value: number, min, max });
        }
        if let Some(field) = self.field(key) {
            *field = number;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_within_their_ranges() {
        let limits = Limits::default();
        for key in Limits::KEYS {
            let value = limits.get(key.key).expect("every key has a field");
            assert!((key.min..=key.max).contains(&value), "{}={value}", key.key);
        }
    }

    #[test]
    fn a_limit_is_set_by_its_key() {
        let mut limits = Limits::default();
        limits.set("ottla.plugin.instances", "3").unwrap();
        assert_eq!(limits.instances, 3);
        for (key, value) in [
            ("ottla.plugin.instances", "0"),
            ("ottla.plugin.instances", "many"),
            ("ottla.plugin.batch.time.ms", "-1"),
            ("ottla.plugin.speed", "1"),
        ] {
            let before = limits.clone();
            let error = limits.set(key, value).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            assert_eq!(limits, before);
        }
    }
}
