//! Who is a VIP: the config as it is written, and the rule that it becomes.

use std::collections::HashSet;

use ottla_plugin::Record;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    vip: Vip,
    share: f64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Vip {
    prefix: Option<String>,
    keys: Option<Vec<String>>,
    header: Option<String>,
}

pub(crate) enum Rule {
    Prefix(Vec<u8>),
    Keys(HashSet<Vec<u8>>),
    Header(Vec<u8>),
}

impl Config {
    /// The rule and the share.
    ///
    /// # Errors
    /// A sentence that says which field is wrong and what belongs there.
    pub(crate) fn check(self) -> Result<(Rule, f64), String> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(format!(
                "share is {}; give the part of the partitions that VIPs get, from 0 to 1, such as 0.8",
                self.share
            ));
        }
        let empty = |field: &str| format!("vip.{field} is empty, so it names nobody");
        let rule = match (self.vip.prefix, self.vip.keys, self.vip.header) {
            (Some(prefix), None, None) if prefix.is_empty() => return Err(empty("prefix")),
            (None, Some(keys), None) if keys.is_empty() => return Err(empty("keys")),
            (None, None, Some(header)) if header.is_empty() => return Err(empty("header")),
            (Some(prefix), None, None) => Rule::Prefix(prefix.into_bytes()),
            (None, Some(keys), None) => Rule::Keys(keys.into_iter().map(String::into_bytes).collect()),
            (None, None, Some(header)) => Rule::Header(header.into_bytes()),
            _ => {
                return Err(
                    "vip needs exactly one of prefix, keys and header, such as {\"prefix\": \"vip-\"}".into(),
                );
            }
        };
        Ok((rule, self.share))
    }
}

impl Rule {
    #[inline]
    pub(crate) fn is_vip(&self, record: &Record<'_>) -> bool {
        match self {
            Rule::Prefix(prefix) => record.key.is_some_and(|key| key.starts_with(prefix)),
            Rule::Keys(keys) => record.key.is_some_and(|key| keys.contains(key)),
            Rule::Header(name) => record.headers.has(name),
        }
    }
}
