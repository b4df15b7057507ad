//! A plugin's config: JSON text into the author's own type.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The config of a plugin that has none: `{}`, and nothing in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// # Errors
/// A sentence that names the field and the place.
pub(crate) fn parse<C: DeserializeOwned>(json: &str) -> Result<C, String> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    serde_json::from_str(json).map_err(|error| {
        let path = path_at(json, error.line(), error.column());
        let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
        format!("the config is wrong{place}: {error}")
    })
}

/// Where parsing had come to, as in `rules[1].keep-days`. Lines and columns count from 1, columns in bytes.
fn path_at(json: &str, line: usize, column: usize) -> String {
    let before: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = before.saturating_add(column).min(json.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut text: Option<Vec<u8>> = None;
    let mut escaped = false;
    for &byte in &json.as_bytes()[..end] {
        match (&mut text, byte) {
            (Some(_), b'"') if !escaped => {
                let word = text.take().unwrap_or_default();
                if let Some(Step::Field { name, named: false }) = steps.last_mut() {
                    *name = String::from_utf8_lossy(&word).into_owned();
                }
            }
            (Some(word), _) => {
                escaped = byte == b'\\' && !escaped;
                word.push(byte);
            }
            (None, b'"') => text = Some(Vec::new()),
            (None, b'{') => steps.push(Step::Field { name: String::new(), named: false }),
            (None, b'[') => steps.push(Step::Entry(0)),
            (None, b'}' | b']') => drop(steps.pop()),
            (None, b':') => {
                if let Some(Step::Field { named, .. }) = steps.last_mut() {
                    *named = true;
                }
            }
            (None, b',') => match steps.last_mut() {
                Some(Step::Field { name, named }) => (*name, *named) = (String::new(), false),
                Some(Step::Entry(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
    }
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Entry(index) => path += &format!("[{index}]"),
            Step::Field { name, .. } if name.is_empty() => {}
            Step::Field { name, .. } if path.is_empty() => path = name,
            Step::Field { name, .. } => path += &format!(".{name}"),
        }
    }
    path
}

/// A list or object that parsing is within.
enum Step {
    Entry(usize),
    Field {
        name: String,
        /// What follows is the value.
        named: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_config_means_none() {
        assert_eq!(parse::<NoConfig>("{}"), Ok(NoConfig {}));
        assert_eq!(parse::<NoConfig>(""), Ok(NoConfig {}));
        let error = parse::<NoConfig>(r#"{"speed":1}"#).unwrap_err();
        assert!(error.contains("unknown field `speed`"), "{error}");
        assert!(parse::<NoConfig>("[").is_err());
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only parsed")]
    struct Deep {
        rules: Vec<Rule>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code, reason = "only parsed")]
    struct Rule {
        keep_days: u64,
        name: Option<String>,
    }

    #[test]
    fn the_place_of_a_fault_is_named() {
        for (json, place) in [
            (
                r#"{"rules":[{"keep-days":1},{"name":"a,\"}]:{","keep-days":"x"}]}"#,
                "at rules[1].keep-days: invalid",
            ),
            (
                r#"{"rules":[{"keep-days":1},{"keep-day":2}]}"#,
                "at rules[1].keep-day: unknown field `keep-day`",
            ),
            ("{\n \"rules\": [\n  {\"keep-days\": 1},\n  {}]}", "at rules[1]: missing field `keep-days`"),
            (r#"{"rules":[{"keep-days":-1}]}"#, "at rules[0].keep-days: invalid value"),
            (r#"{"rules":[{"keep-days":1,"name":7}]}"#, "at rules[0].name: invalid type"),
            (r#"{"rules":5}"#, "at rules: invalid type"),
            (r#"{}"#, "the config is wrong: missing field `rules`"),
            (r#"{"rules":[{"keep-days":1"#, "EOF"),
            ("]", "expected value"),
            ("\u{e9}\"", "expected value"),
        ] {
            let error = parse::<Deep>(json).unwrap_err();
            assert!(error.contains(place), "{json}: {error}");
        }
    }
}
