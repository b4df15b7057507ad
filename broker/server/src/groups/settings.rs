//! The settings of groups out of the broker's configs. The views read them anew with each metadata image.

use ottla_controller::Image;
use ottla_coordinator::{GroupOverrides, Migration, Settings};
use ottla_model::config::Layers;
use ottla_model::config::list::items;

const MS_PER_MINUTE: i64 = 60_000;

/// What the broker's values say. Their types and bounds were checked where they came in.
pub fn settings(layers: &Layers<'_>) -> Settings {
    let ms = |key: &str| layers.number::<i64>(key).unwrap_or(0);
    let short_ms = |key: &str| layers.number::<i32>(key).unwrap_or(0);
    let count = |key: &str| layers.number::<usize>(key).unwrap_or(usize::MAX);
    let protocols = layers.value("group.coordinator.rebalance.protocols").unwrap_or_default();
    let has = |protocol: &str| items(&protocols).any(|item| item == protocol);
    let migration = layers.value("group.consumer.migration.policy").unwrap_or_default();
    Settings {
        initial_rebalance_delay_ms: ms("group.initial.rebalance.delay.ms"),
        min_session_timeout_ms: short_ms("group.min.session.timeout.ms"),
        max_session_timeout_ms: short_ms("group.max.session.timeout.ms"),
        classic_max_size: count("group.max.size"),
        consumer_max_size: count("group.consumer.max.size"),
        consumer_session_timeout_ms: short_ms("group.consumer.session.timeout.ms"),
        consumer_heartbeat_interval_ms: short_ms("group.consumer.heartbeat.interval.ms"),
        consumer_assignment_interval_ms: short_ms("group.consumer.assignment.interval.ms"),
        consumer_assignors: items(&layers.value("group.consumer.assignors").unwrap_or_default())
            .map(str::to_owned)
            .collect(),
        migration: match migration.to_ascii_lowercase().as_str() {
            "upgrade" => Migration::Upgrade,
            "downgrade" => Migration::Downgrade,
            "disabled" => Migration::Disabled,
            _ => Migration::Bidirectional,
        },
        consumer_protocol: has("consumer"),
        classic_protocol: has("classic"),
        offset_metadata_max_bytes: count("offset.metadata.max.bytes"),
        offsets_retention_ms: ms("offsets.retention.minutes") * MS_PER_MINUTE,
        offsets_retention_check_interval_ms: ms("offsets.retention.check.interval.ms"),
    }
}

/// What a group's own configs say.
pub fn overrides(_image: &Image, _group: &str) -> GroupOverrides {
    GroupOverrides::default()
}
