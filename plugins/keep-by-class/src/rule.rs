//! The config as it is written, and the rules that it becomes: each says whom it means and for how long it keeps.

use ottla_plugin::Record;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    rules: Vec<RawRule>,
    default_days: Option<u64>,
    default_hours: Option<u64>,
    default_ms: Option<u64>,
    default_forever: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    key_prefix: Option<String>,
    header: Option<String>,
    value: Option<String>,
    keep_days: Option<u64>,
    keep_hours: Option<u64>,
    keep_ms: Option<u64>,
    keep_forever: Option<bool>,
}

pub(crate) struct Rule {
    pub(crate) class: Class,
    /// None is for ever.
    pub(crate) keep_ms: Option<i64>,
}

/// Whom a rule means.
pub(crate) enum Class {
    KeyPrefix(Vec<u8>),
    Header { name: Vec<u8>, value: Option<Vec<u8>> },
}

impl Class {
    #[inline]
    pub(crate) fn has(&self, record: &Record<'_>) -> bool {
        match self {
            Class::KeyPrefix(prefix) => record.key.is_some_and(|key| key.starts_with(prefix)),
            Class::Header { name, value: None } => record.headers.has(name),
            Class::Header { name, value } => record
                .headers
                .into_iter()
                .any(|header| header.key == name && header.value == value.as_deref()),
        }
    }
}

impl Config {
    /// The rules in their order, and for how long what none of them means is kept, if the config says so: the inner
    /// option is none for ever.
    ///
    /// # Errors
    /// A sentence that names the field and says what belongs there.
    pub(crate) fn check(self) -> Result<(Vec<Rule>, Option<Option<i64>>), String> {
        if self.rules.is_empty() {
            return Err(
                "rules is empty; give at least one, such as {\"key-prefix\": \"vip-\", \"keep-days\": 2555}"
                    .into(),
            );
        }
        let rules = self
            .rules
            .into_iter()
            .enumerate()
            .map(|(index, raw)| raw.check(index))
            .collect::<Result<_, _>>()?;
        let default = [
            ("default-days", self.default_days, DAY_MS),
            ("default-hours", self.default_hours, HOUR_MS),
            ("default-ms", self.default_ms, 1),
        ];
        let default = time("", default, ("default-forever", self.default_forever))?;
        Ok((rules, default))
    }
}

impl RawRule {
    fn check(self, index: usize) -> Result<Rule, String> {
        let place = format!("rules[{index}]");
        let class = match (self.key_prefix, self.header, self.value) {
            (Some(prefix), None, None) if prefix.is_empty() => {
                return Err(format!(
                    "{place}.key-prefix is empty, so it means every key; use default-days for those"
                ));
            }
            (None, Some(header), _) if header.is_empty() => return Err(format!("{place}.header is empty")),
            (Some(prefix), None, None) => Class::KeyPrefix(prefix.into_bytes()),
            (None, Some(name), value) => {
                Class::Header { name: name.into_bytes(), value: value.map(String::into_bytes) }
            }
            (_, None, Some(_)) => {
                return Err(format!("{place}.value belongs to a header; give {place}.header, its name, too"));
            }
            _ => return Err(format!("{place} needs exactly one of key-prefix and header")),
        };
        let keep = [
            ("keep-days", self.keep_days, DAY_MS),
            ("keep-hours", self.keep_hours, HOUR_MS),
            ("keep-ms", self.keep_ms, 1),
        ];
        match time(&format!("{place}."), keep, ("keep-forever", self.keep_forever))? {
            Some(keep_ms) => Ok(Rule { class, keep_ms }),
            None => Err(format!(
                "{place} does not say for how long; give one of keep-days, keep-hours, keep-ms and keep-forever"
            )),
        }
    }
}

/// The one time that is given, if any is, in milliseconds; the inner option is none for ever.
fn time(
    place: &str,
    units: [(&str, Option<u64>, u64); 3],
    (forever_name, forever): (&str, Option<bool>),
) -> Result<Option<Option<i64>>, String> {
    if forever == Some(false) {
        return Err(format!("{place}{forever_name} is false; leave it out and give a time instead"));
    }
    let mut found = forever.map(|_| (forever_name, None));
    for (name, number, unit_ms) in units {
        let Some(number) = number else { continue };
        if let Some((other, _)) = found {
            return Err(format!("{place}{name} and {place}{other} exclude each other; give one of them"));
        }
        let ms = number.checked_mul(unit_ms).and_then(|ms| i64::try_from(ms).ok());
        let ms = ms.ok_or_else(|| {
            format!("{place}{name} is {number}, which is too long; for ever is {forever_name}")
        })?;
        found = Some((name, Some(ms)));
    }
    Ok(found.map(|(_, ms)| ms))
}
