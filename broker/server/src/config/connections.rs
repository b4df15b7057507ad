//! The bounds on connections by address, which may change while the broker runs.

use super::Config;
use crate::net::Quotas;
use ottla_controller::image::Image;
use ottla_model::config::list::connections_by_address;

impl Config {
    /// As [`Config::connection_quotas`], with nothing set in the cluster.
    pub fn connection_quotas_given(&self) -> Quotas {
        self.connection_quotas(&Image::default())
    }

    /// `max.connections.per.ip` and its overrides: what was set in the cluster over what was given at the start.
    pub fn connection_quotas(&self, image: &Image) -> Quotas {
        let layers = self.layers(image);
        let overrides = layers.value("max.connections.per.ip.overrides").unwrap_or_default();
        Quotas {
            per_ip_max: layers.number("max.connections.per.ip").unwrap_or(usize::MAX),
            // What is not possible is refused where it is given.
            overrides: connections_by_address(&overrides).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_by_address_are_taken_from_the_config() {
        let config = Config::with(&[
            ("max.connections.per.ip", "7"),
            ("max.connections.per.ip.overrides", "127.0.0.1:3"),
        ]);
        let quotas = config.expect("possible").connection_quotas_given();
        assert_eq!(quotas.per_ip_max, 7);
        assert_eq!(quotas.overrides.values().collect::<Vec<_>>(), [&3]);
    }
}
