//! Configs of topics, brokers and groups as requests see and change them. The list of keys in `ottla_model::config` says what
//! there is; the metadata image holds what was set while the cluster runs; a broker's start brings the rest. The
//! handlers of the config APIs and of topic creation stand before it.

mod answer;
mod change;
mod describe;
pub mod group_bounds;
mod resource;
mod rules;

pub use answer::{Wanted, change_all};
pub use change::{
    Wish, change, plugin_configs, prepare_topic, told_to_retention, touches_plugins, warn_of_compaction,
    warn_without_effect,
};
pub use describe::{Entry, Source, broker_entries, cluster_entries, group_entries, topic_entries};
pub use resource::{Resource, check_distinct, types};
pub use rules::{Rules, scope_of};

use ottla_controller::Image;
use ottla_controller::record::ConfigOwner;
use ottla_model::config::Layers;
use ottla_model::config::layers::Values;
use ottla_model::ids::BrokerId;

/// A broker's values with the places that they come from, the most specific first.
#[derive(Clone)]
pub struct InForce<'a> {
    places: Vec<(Source, &'a Values)>,
}

impl<'a> InForce<'a> {
    /// `given` is what the broker was started with.
    pub fn new(image: &'a Image, node_id: BrokerId, given: &'a Values) -> InForce<'a> {
        let mut places = Vec::with_capacity(3);
        if let Some(values) = image.configs(ConfigOwner::Broker(node_id)) {
            places.push((Source::DynamicBroker, &**values));
        }
        if let Some(values) = image.configs(ConfigOwner::AllBrokers) {
            places.push((Source::DynamicDefault, &**values));
        }
        places.push((Source::StaticBroker, given));
        InForce { places }
    }

    /// The same, for reading values.
    pub fn layers(&self) -> Layers<'a> {
        Layers::new(self.places.iter().map(|(_, values)| *values).collect())
    }
}
