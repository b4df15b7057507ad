//! Whose records go: the config as it is written, and the sets that keys are looked up in.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::base64;

const HASH_BYTES: usize = 32;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    keys: Vec<Key>,
    salt: Option<String>,
    #[serde(default)]
    sha256: Vec<String>,
    #[serde(default)]
    pub(crate) tombstone: bool,
}

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a key as text, or as {\"base64\": TEXT}")]
enum Key {
    Text(String),
    Binary(Binary),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary {
    base64: String,
}

pub(crate) struct Subjects {
    keys: HashSet<Vec<u8>>,
    /// A hash that has taken the salt already; none where no hashes are given.
    salted: Option<Sha256>,
    hashes: HashSet<[u8; HASH_BYTES]>,
}

impl Subjects {
    /// # Errors
    /// A sentence that names the field and says what belongs there.
    pub(crate) fn new(config: Config) -> Result<Subjects, String> {
        if config.keys.is_empty() && config.sha256.is_empty() {
            return Err(
                "keys and sha256 are empty, so nobody is meant; give keys, such as {\"keys\": [\"customer-7\"]}, or \
                 salt and sha256"
                    .into(),
            );
        }
        let salted = match (config.salt, config.sha256.is_empty()) {
            (None, true) => None,
            (Some(salt), false) if !salt.is_empty() => Some(Sha256::new_with_prefix(salt)),
            (Some(_), true) => return Err("salt belongs to sha256, and there is none".into()),
            _ => {
                return Err(
                    "sha256 needs a salt, a long random text: without one the hashes of all likely keys are soon tried"
                        .into(),
                );
            }
        };
        let keys = config.keys.into_iter().enumerate().map(|(index, key)| match key {
            Key::Text(text) => Ok(text.into_bytes()),
            // The key itself is not repeated: errors end up in logs.
            Key::Binary(Binary { base64 }) => {
                base64::decode(&base64).map_err(|fault| format!("keys[{index}].base64 is no base64: {fault}"))
            }
        });
        let hashes = config.sha256.iter().enumerate().map(|(index, text)| {
            from_hex(text).ok_or_else(|| {
                format!(
                    "sha256[{index}] is {text:?}; give 64 hexadecimal digits, as `printf '%s%s' SALT KEY | sha256sum` \
                     prints them"
                )
            })
        });
        Ok(Subjects {
            keys: keys.collect::<Result<_, String>>()?,
            salted,
            hashes: hashes.collect::<Result<_, String>>()?,
        })
    }

    #[inline]
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        if !self.keys.is_empty() && self.keys.contains(key) {
            return true;
        }
        match &self.salted {
            Some(salted) => {
                let hash: [u8; HASH_BYTES] = salted.clone().chain_update(key).finalize().into();
                self.hashes.contains(&hash)
            }
            None => false,
        }
    }
}

fn from_hex(text: &str) -> Option<[u8; HASH_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_BYTES {
        return None;
    }
    let mut bytes = [0; HASH_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}
