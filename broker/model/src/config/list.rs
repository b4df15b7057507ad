//! Lists as Kafka writes them: items between commas.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

/// The items of a list, without the spaces around them; empty ones do not count.
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The bounds of `max.connections.per.ip.overrides`: ADDRESS:COUNT, between commas. An address is no host name: what a
/// name stands for may change, and looking it up may take long.
///
/// # Errors
/// What the value must be.
pub fn connections_by_address(value: &str) -> Result<HashMap<IpAddr, usize>, String> {
    let bound = |item: &str| {
        let (address, count) = item.rsplit_once(':')?;
        let address = address.trim().trim_start_matches('[').trim_end_matches(']');
        Some((address.parse::<IpAddr>().ok()?.to_canonical(), count.trim().parse::<u32>().ok()? as usize))
    };
    let bounds: Option<_> = items(value).map(bound).collect();
    bounds.ok_or_else(|| "a list of IP_ADDRESS:CONNECTIONS".to_owned())
}

/// So many clusters are watched at most.
const CLUSTERS_MAX: usize = 64;

/// Whether a cluster may be called so: it stands in paths and in labels.
pub fn is_cluster_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(is_fine)
}

/// The clusters of `ottla.monitor.clusters`: NAME=HOST:PORT, between commas. Answers for each name the brokers to
/// begin with, in the order given.
///
/// # Errors
/// What the value must be.
pub fn clusters_by_name(value: &str) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in items(value) {
        let wrong = || {
            format!(
                "a list of NAME=HOST:PORT, each name of up to 64 letters, digits, `.`, `-` and `_`; `{item}` is none"
            )
        };
        let (name, address) = item.split_once('=').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if !is_cluster_name(name) || host.is_empty() || !is_port {
            return Err(wrong());
        }
        clusters.entry(name.to_owned()).or_default().push(address.to_owned());
    }
    if clusters.len() > CLUSTERS_MAX {
        return Err(format!("a list of NAME=HOST:PORT with up to {CLUSTERS_MAX} names"));
    }
    Ok(clusters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_by_address_are_read() {
        let read = connections_by_address("127.0.0.1:5, ::1:7,[fe80::1]:0").expect("three bounds");
        for (address, count) in [("127.0.0.1", 5), ("::1", 7), ("fe80::1", 0)] {
            assert_eq!(read.get(&address.parse().expect("an address")), Some(&count), "{address}");
        }
        assert_eq!(connections_by_address("").map(|read| read.len()), Ok(0));
        for wrong in ["127.0.0.1", "localhost:5", "127.0.0.1:-1", "127.0.0.1:", ":5"] {
            assert!(connections_by_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clusters_are_read_by_name() {
        let read = clusters_by_name("east=a:9092, west=[::1]:9093,east=b:9092").expect("two clusters");
        let read: Vec<(&str, Vec<&str>)> = read
            .iter()
            .map(|(name, brokers)| (&**name, brokers.iter().map(|broker| &**broker).collect()))
            .collect();
        assert_eq!(read, [("east", vec!["a:9092", "b:9092"]), ("west", vec!["[::1]:9093"])]);
        assert_eq!(clusters_by_name("").map(|read| read.len()), Ok(0));
        for wrong in
            ["a:9092", "east=", "east=a", "east=a:", "east=a:0", "=a:9092", "e/st=a:9092", "east=:9092"]
        {
            assert!(clusters_by_name(wrong).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..65).map(|number| format!("c{number}=a:1")).collect();
        assert!(clusters_by_name(&many.join(",")).is_err());
    }
}
