//! Lists as Kafka writes them: items between commas.

use core::net::IpAddr;
use std::collections::HashMap;

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
}
