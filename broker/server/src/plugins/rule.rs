//! The rule by which a plugin places records: its component together with its config, as one digest. Lanes record it
//! with each batch, and the record of switches says which plugin and config stand behind it. The same component with
//! another config is another rule.

use sha2::{Digest, Sha256};

/// SHA-256 over the component's SHA-256 and the text of its config.
pub fn rule_digest(component: &[u8; 32], config: &str) -> [u8; 32] {
    Sha256::new().chain_update(component).chain_update(config.as_bytes()).finalize().into()
}

/// A digest as people read it: 64 hexadecimal digits in lower case.
pub fn in_hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest from its hexadecimal form; `None` if the text is no digest.
pub fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The rule of a recorded switch, in hexadecimal; empty if the digest is none.
pub fn switch_rule(digest: &str, config: Option<&str>) -> String {
    let component = from_hex(digest);
    component
        .map(|component| in_hex(&rule_digest(&component, config.unwrap_or_default())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_from_hex() {
        let hex: String = (0..32u8).map(|byte| format!("{:02x}", byte * 7)).collect();
        let bytes = from_hex(&hex).unwrap();
        assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == index as u8 * 7));
        assert_eq!(in_hex(&bytes), hex);
        for wrong in ["", &hex[1..], &hex.replace('0', "g"), &"é".repeat(32)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn component_and_config_both_make_the_rule() {
        let rule = rule_digest(&[1; 32], "{}");
        assert_eq!(in_hex(&rule), "5ef179ff4a27db7045b2d744438932f9689ffaf482eeeb4b1a51740c7d909555");
        assert_ne!(rule, rule_digest(&[1; 32], "{ }"));
        assert_ne!(rule, rule_digest(&[2; 32], "{}"));
    }
}
