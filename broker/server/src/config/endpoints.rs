//! Listeners and the other addresses of a broker's configuration, as Kafka writes them: NAME://HOST:PORT, ID@HOST:PORT,
//! HOST:PORT. The typed config stands behind it.

use ottla_model::config::list::items;
use std::collections::HashMap;
use std::fmt;

/// The only security protocol that is built.
const PLAINTEXT: &str = "PLAINTEXT";

/// A host and a port. An empty host is every address of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A listener, or where clients are told to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Upper case, as Kafka has it.
    pub name: String,
    pub address: HostPort,
}

/// One of `controller.quorum.voters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    pub id: i32,
    pub address: HostPort,
}

/// Reads HOST:PORT; an IPv6 host stands in brackets.
pub fn host_port(text: &str) -> Result<HostPort, String> {
    let wrong = || format!("{text} is no address: give HOST:PORT, an IPv6 host in brackets");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let is_host = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'));
    let port = port.parse().map_err(|_| wrong())?;
    if is_host { Ok(HostPort { host: host.to_owned(), port }) } else { Err(wrong()) }
}

/// Reads a list of NAME://HOST:PORT with distinct names.
pub fn endpoints(key: &str, text: &str) -> Result<Vec<Endpoint>, String> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for item in items(text) {
        let (name, address) = item
            .split_once("://")
            .ok_or_else(|| format!("{key}: {item} is no listener: give NAME://HOST:PORT"))?;
        let name = name.to_ascii_uppercase();
        if name.is_empty() || endpoints.iter().any(|other| other.name == name) {
            return Err(format!("{key}: each listener needs a name of its own, and {item} has none"));
        }
        let address = host_port(address).map_err(|reason| format!("{key}: {reason}"))?;
        endpoints.push(Endpoint { name, address });
    }
    Ok(endpoints)
}

/// Refuses listeners that speak what is not built. `map` is `listener.security.protocol.map`.
pub fn check_protocols(map: &str, listeners: &[Endpoint]) -> Result<(), String> {
    let mut protocols: HashMap<String, &str> = HashMap::new();
    for item in items(map) {
        let (name, protocol) = item
            .split_once(':')
            .ok_or_else(|| format!("listener.security.protocol.map: {item} is not NAME:PROTOCOL"))?;
        protocols.insert(name.trim().to_ascii_uppercase(), protocol.trim());
    }
    for Endpoint { name, .. } in listeners {
        match protocols.get(name) {
            Some(protocol) if protocol.eq_ignore_ascii_case(PLAINTEXT) => {}
            Some(protocol) => {
                return Err(format!(
                    "listener {name} speaks {protocol}, which is not built: use {PLAINTEXT} for it"
                ));
            }
            None => {
                return Err(format!(
                    "listener {name} has no protocol: add {name}:{PLAINTEXT} to listener.security.protocol.map"
                ));
            }
        }
    }
    Ok(())
}

/// Reads `controller.quorum.voters`.
pub fn voters(text: &str) -> Result<Vec<Voter>, String> {
    let voter = |item: &str| {
        let wrong = || format!("controller.quorum.voters: {item} is no voter: give ID@HOST:PORT");
        let (id, address) = item.split_once('@').ok_or_else(wrong)?;
        let id = id.parse().ok().filter(|id| *id >= 0).ok_or_else(wrong)?;
        Ok(Voter { id, address: host_port(address).map_err(|_| wrong())? })
    };
    items(text).map(voter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, host: &str, port: u16) -> Endpoint {
        Endpoint { name: name.to_owned(), address: HostPort { host: host.to_owned(), port } }
    }

    #[test]
    fn listeners_are_read() {
        let read = endpoints("listeners", "PLAINTEXT://127.0.0.1:0, inside://[::1]:9093,ALL://:9094");
        let expected = vec![
            endpoint("PLAINTEXT", "127.0.0.1", 0),
            endpoint("INSIDE", "::1", 9093),
            endpoint("ALL", "", 9094),
        ];
        assert_eq!(read, Ok(expected));
        assert_eq!(HostPort { host: "::1".into(), port: 1 }.to_string(), "[::1]:1");
    }

    #[test]
    fn wrong_addresses_are_named() {
        for wrong in
            ["localhost", "a://b", "a://b:x", "a://b:65536", "a://::1:5", "a://[::1:5", "a://b/c:5", "://a:1"]
        {
            let error = endpoints("listeners", wrong).expect_err(wrong);
            assert!(error.starts_with("listeners: "), "{error}");
        }
        assert!(endpoints("listeners", "A://:1,a://:2").is_err(), "names are distinct");
        for wrong in ["1", "1@a", "x@a:1", "-1@a:1", "1@a:b"] {
            assert!(voters(wrong).expect_err(wrong).contains(wrong));
        }
        assert_eq!(voters("1@a:2, 3@b:4").map(|voters| voters.len()), Ok(2));
    }

    #[test]
    fn only_plaintext_is_spoken() {
        let listeners = [endpoint("PLAINTEXT", "", 1), endpoint("INSIDE", "", 2)];
        assert_eq!(check_protocols("PLAINTEXT:PLAINTEXT,inside:plaintext", &listeners), Ok(()));
        assert!(
            check_protocols("PLAINTEXT:PLAINTEXT,INSIDE:SSL", &listeners).is_err_and(|e| e.contains("SSL"))
        );
        assert!(check_protocols("PLAINTEXT:PLAINTEXT", &listeners).is_err_and(|e| e.contains("INSIDE")));
        assert!(check_protocols("PLAINTEXT", &listeners).is_err());
    }
}
