//! What plugins may use, made of the broker's `ottla.plugin.*` keys.

use super::Config;
use ottla_controller::image::Image;
use ottla_plugin_host::Limits;

impl Config {
    /// The limits of plugins that are in force: what the metadata sets over what was given at the start.
    pub fn plugin_limits(&self, image: &Image) -> Limits {
        let layers = self.layers(image);
        let mut limits = Limits::default();
        for limit in Limits::KEYS {
            let Some(value) = layers.value(limit.key) else { continue };
            if let Err(error) = limits.set(limit.key, &value) {
                tracing::error!(%error, "the limit stays at its default");
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_model::config::key::Check;
    use ottla_model::config::{Scope, find};

    #[test]
    fn the_list_of_keys_and_the_host_agree() {
        let config = Config::with(&[]).expect("the defaults are possible");
        assert_eq!(config.plugin_limits(&Image::default()), Limits::default());
        for limit in Limits::KEYS {
            let key = find(Scope::Broker, limit.key).unwrap_or_else(|| panic!("{} is not a key", limit.key));
            let range = (i64::try_from(limit.min), i64::try_from(limit.max));
            let Check::Between(least, most) = key.check else { panic!("{} has no range", limit.key) };
            assert_eq!((Ok(least), Ok(most)), range, "{}", limit.key);
        }
    }

    #[test]
    fn a_given_limit_holds() {
        let config = Config::with(&[("ottla.plugin.instances", "3")]).expect("possible");
        assert_eq!(config.plugin_limits(&Image::default()).instances, 3);
    }
}
