//! `sticky`: keyed records go by hash, as Kafka's Java client would send them. A record without a key stays where its
//! client put it, so that batches stay whole, as long as that partition takes records and is not overloaded; else it
//! goes to the least loaded one.
//!
//! Config: `{"overload": 2.0}`: a partition is overloaded when it takes more than this many times the average.

use ottla_plugin::{At, KeyPartitioner, Partitions, Refusal, Topic, murmur2};

const OVERLOAD: f64 = 2.0;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "overload")]
    overload: f64,
}

fn overload() -> f64 {
    OVERLOAD
}

pub struct Sticky {
    overload: f64,
    /// Per partition: whether records without a key may stay there.
    healthy: Vec<bool>,
    /// The least loaded partition that takes records, if any does.
    refuge: Option<u32>,
}

impl KeyPartitioner for Sticky {
    type Config = Config;

    fn configure(config: Config, _: &Topic, partitions: &Partitions) -> Result<Self, String> {
        if !config.overload.is_finite() || config.overload < 1.0 {
            return Err(format!(
                "overload is {}; give a number from 1 up, such as {OVERLOAD}: how many times the average a partition \
                 may take",
                config.overload
            ));
        }
        let mut sticky = Sticky { overload: config.overload, healthy: Vec::new(), refuge: None };
        sticky.observe(partitions);
        Ok(sticky)
    }

    fn observe(&mut self, partitions: &Partitions) {
        let loads = &partitions.loads_bytes;
        let average = loads.iter().map(|&load| load as f64).sum::<f64>() / loads.len().max(1) as f64;
        let most = average * self.overload;
        let writable = |partition: &u32| partitions.is_writable(*partition);
        self.healthy = (0..partitions.count())
            .map(|partition| writable(&partition) && loads[partition as usize] as f64 <= most)
            .collect();
        self.refuge =
            (0..partitions.count()).filter(writable).min_by_key(|&partition| loads[partition as usize]);
    }

    #[inline]
    fn partition(&mut self, key: Option<&[u8]>, at: At<'_>) -> Result<u32, Refusal> {
        if let Some(key) = key {
            return Ok(murmur2::partition_of(key, at.partitions.count()));
        }
        match self.healthy.get(at.client as usize) {
            Some(true) => Ok(at.client),
            // Where no partition takes records, staying lets the broker answer for the one that the client named.
            _ => Ok(self.refuge.unwrap_or(at.client)),
        }
    }
}

ottla_plugin::export_key_partitioner!(Sticky);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::Keys;

    use super::*;

    fn loads(loads_bytes: &[u64], unwritable: &[u32]) -> Partitions {
        Partitions { loads_bytes: loads_bytes.to_vec(), unwritable: unwritable.to_vec() }
    }

    fn place_null(config: &str, client: u32, partitions: Partitions) -> u32 {
        let mut plugin = Keys::<Sticky>::configure(config, partitions).unwrap();
        plugin.partition(client, &[None]).placed()[0]
    }

    #[test]
    fn null_keys_stay_unless_their_partition_is_closed_or_overloaded() {
        for (client, loads_bytes, unwritable, place) in [
            (1, [0, 0, 0, 0], &[][..], 1),
            (1, [50, 100, 90, 60], &[], 1),
            // 300 is more than twice the average of 100.
            (1, [50, 300, 20, 30], &[], 2),
            // Exactly twice is not more than twice.
            (1, [100, 200, 50, 50], &[], 1),
            (1, [50, 60, 20, 30], &[1], 2),
            (1, [50, 300, 20, 30], &[2], 3),
            (1, [50, 300, 20, 30], &[0, 1, 2, 3], 1),
        ] {
            let partitions = loads(&loads_bytes, unwritable);
            assert_eq!(
                place_null("{}", client, partitions),
                place,
                "{client} {loads_bytes:?} {unwritable:?}"
            );
        }
    }

    #[test]
    fn keys_are_hashed_wherever_they_came_from() {
        let mut plugin = Keys::<Sticky>::configure("{}", loads(&[900, 0, 0, 0], &[])).unwrap();
        let key: &[u8] = b"foobar";
        let place = murmur2::partition_of(key, 4);
        assert_eq!(plugin.partition(0, &[Some(key), None, Some(key)]).placed(), [place, 1, place]);
    }

    #[test]
    fn overload_is_configurable_and_checked() {
        let partitions = || loads(&[50, 300, 20, 30], &[]);
        assert_eq!(place_null(r#"{"overload": 4}"#, 1, partitions()), 1);
        assert_eq!(place_null(r#"{"overload": 1.0}"#, 1, partitions()), 2);
        for (wrong, word) in [
            (r#"{"overload": 0.5}"#, "overload is 0.5"),
            (r#"{"overload": "much"}"#, "expected f64"),
            (r#"{"load": 2}"#, "unknown field `load`"),
        ] {
            let error = Keys::<Sticky>::configure(wrong, partitions()).err().unwrap();
            assert!(error.contains(word), "{error}");
        }
    }
}
