//! `key-hash`: every key goes where Kafka's Java client would send it, whatever the producer's own client does. A
//! record without a key stays where its client put it.
//!
//! Config: none.

use ottla_plugin::{At, KeyPartitioner, NoConfig, Partitions, Refusal, Topic, murmur2};

pub struct KeyHash;

impl KeyPartitioner for KeyHash {
    type Config = NoConfig;

    fn configure(_: NoConfig, _: &Topic, _: &Partitions) -> Result<Self, String> {
        Ok(KeyHash)
    }

    #[inline]
    fn partition(&mut self, key: Option<&[u8]>, at: At<'_>) -> Result<u32, Refusal> {
        match key {
            Some(key) => Ok(murmur2::partition_of(key, at.partitions.count())),
            None => Ok(at.client),
        }
    }
}

ottla_plugin::export_key_partitioner!(KeyHash);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::Keys;

    use super::*;

    #[test]
    fn keys_go_where_the_java_client_sends_them_and_null_keys_stay() {
        let mut plugin = Keys::<KeyHash>::configure("{}", Partitions::idle(10)).unwrap();
        let places = plugin.partition(3, &[Some(b"foobar"), None, Some(b"21"), Some(b"")]).placed();
        // toPositive(murmur2) % 10 of the hashes that Kafka's own tests list: -790332482 and -973932308.
        assert_eq!(places[..3], [1_357_151_166 % 10, 3, 1_173_551_340 % 10]);
        assert_eq!(places[3], murmur2::partition_of(b"", 10));
    }

    #[test]
    fn more_partitions_count_at_once() {
        let mut plugin = Keys::<KeyHash>::configure("", Partitions::idle(1)).unwrap();
        assert_eq!(plugin.partition(0, &[Some(b"foobar")]).placed(), [0]);
        plugin.observe(Partitions::idle(7));
        assert_eq!(plugin.partition(0, &[Some(b"foobar")]).placed(), [1_357_151_166 % 7]);
    }

    #[test]
    fn a_config_is_refused() {
        let error = Keys::<KeyHash>::configure(r#"{"hash":"crc32"}"#, Partitions::idle(1)).err().unwrap();
        assert!(error.contains("unknown field `hash`"), "{error}");
    }
}
