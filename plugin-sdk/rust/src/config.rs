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
    serde_json::from_str(json).map_err(|error| format!("the config is wrong: {error}"))
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
}
