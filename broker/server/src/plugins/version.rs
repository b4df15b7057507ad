//! How plugins are named, `name` or `name@version`, with versions ordered as semver orders them, and what is known of one version. The upload and the
//! topic config `ottla.partitioner` come through here, so both refuse the same names in the same words.

use std::fmt;

use semver::Version;
use serde::Serialize;

/// A plugin's name is at most this long.
pub const NAME_BYTES_MAX: usize = 64;
/// A version is at most this long.
pub const VERSION_BYTES_MAX: usize = 64;

/// One version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    pub name: String,
    pub version: Version,
    /// SHA-256 of the component, in lower-case hex.
    pub digest: String,
    pub kinds: Vec<String>,
    pub tenant: Option<String>,
    pub size_bytes: u64,
    /// Unix time in milliseconds; 0 for shipped ones.
    pub registered_ms: i64,
    pub registered_by: String,
    /// Part of the broker's program.
    pub shipped: bool,
}

/// What `ottla.partitioner` holds: a plugin, and perhaps one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    /// None: the latest.
    pub version: Option<Version>,
}

impl Reference {
    /// Reads `name` or `name@version`.
    ///
    /// # Errors
    /// A sentence that says what a name or a version looks like.
    pub fn parse(text: &str) -> Result<Reference, String> {
        match text.split_once('@') {
            None => Ok(Reference { name: name(text)?, version: None }),
            Some((plugin, wanted)) => Ok(Reference { name: name(plugin)?, version: Some(version(wanted)?) }),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// A plugin's name: lower case letters, digits, `-` and `_`, beginning with a letter or digit.
pub fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = text.len() <= NAME_BYTES_MAX
        && text.starts_with(fits)
        && text.chars().all(|c| fits(c) || matches!(c, '-' | '_'));
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is no name of a plugin; a name has 1 to {NAME_BYTES_MAX} lower case letters, digits, `-` or `_`, and \
         begins with a letter or digit",
        shown(text)
    ))
}

/// A version: semver, without build metadata, which would make two versions that are equal in order.
pub fn version(text: &str) -> Result<Version, String> {
    let parsed = if text.len() > VERSION_BYTES_MAX { None } else { Version::parse(text).ok() };
    match parsed {
        Some(version) if version.build.is_empty() => Ok(version),
        _ => Err(format!(
            "`{}` is no version; give three numbers, as in 1.2.0, or a pre-release, as in 1.2.0-rc.1",
            shown(text)
        )),
    }
}

/// The version that a reference without one means: the highest release, or the highest pre-release where there is
/// no release.
pub fn latest<'a, T>(
    versions: impl IntoIterator<Item = &'a T>,
    of: impl Fn(&T) -> &Version,
) -> Option<&'a T> {
    versions.into_iter().max_by(|a, b| {
        let rank = |item| (of(item).pre.is_empty(), of(item).clone());
        rank(*a).cmp(&rank(*b))
    })
}

/// Input as it appears in an error: bounded.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        for (text, plugin, wanted) in [
            ("key-hash", "key-hash", None),
            ("vip-weighted@0.1.0", "vip-weighted", Some("0.1.0")),
            ("a_b-c@1.2.3-rc.1", "a_b-c", Some("1.2.3-rc.1")),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.name, plugin);
            assert_eq!(reference.version.as_ref().map(ToString::to_string).as_deref(), wanted);
            assert_eq!(reference.to_string(), text);
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for text in [
            "",
            "@1.0.0",
            "-x",
            "Key",
            "a b",
            "a/b",
            "a.b",
            "../a",
            "x@",
            "x@1",
            "x@1.0",
            "x@1.0.0+b",
            "x@y",
            &long,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_latest_is_the_highest_release() {
        for (versions, expected) in [
            (&["0.1.0", "0.10.0", "0.9.0"][..], "0.10.0"),
            (&["1.0.0", "2.0.0-rc.1"], "1.0.0"),
            (&["1.0.0-rc.1", "1.0.0-rc.10", "1.0.0-rc.2"], "1.0.0-rc.10"),
        ] {
            let versions: Vec<Version> = versions.iter().map(|text| version(text).unwrap()).collect();
            assert_eq!(latest(&versions, |v| v).unwrap().to_string(), expected);
        }
        assert_eq!(latest(&Vec::<Version>::new(), |v| v), None);
    }
}
