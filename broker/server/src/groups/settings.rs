//! The settings of groups out of the configs: the broker's, and those of single groups over them. The views read them
//! anew with each metadata image. Types and ranges were checked where the values came in; what was in its bounds then and
//! is not any more counts as the nearest bound, as in Kafka.

use ottla_controller::Image;
use ottla_coordinator::{GroupOverrides, Migration, Settings};
use ottla_model::config::Layers;
use ottla_model::config::list::items;

use crate::configs::group_bounds::{ASSIGNMENT, Bounds, HEARTBEAT, SESSION};

const MS_PER_MINUTE: i64 = 60_000;

/// What the broker's values say.
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
        consumer_assignment_interval_ms: Bounds::read(layers)
            .nearest(ASSIGNMENT, short_ms("group.consumer.assignment.interval.ms")),
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
        // A negative bound lets nothing pass.
        offset_metadata_max_bytes: layers.number("offset.metadata.max.bytes").unwrap_or(0),
        offsets_retention_ms: ms("offsets.retention.minutes") * MS_PER_MINUTE,
        offsets_retention_check_interval_ms: ms("offsets.retention.check.interval.ms"),
    }
}

/// What a group's own configs say, within `bounds`.
pub fn overrides(image: &Image, bounds: &Bounds, group: &str) -> GroupOverrides {
    let Some(own) = image.group_configs(group) else { return GroupOverrides::default() };
    let of = |name: &str| {
        let value = own.get(name)?.trim().parse().ok()?;
        Some(bounds.nearest(name, value))
    };
    GroupOverrides {
        consumer_session_timeout_ms: of(SESSION),
        consumer_heartbeat_interval_ms: of(HEARTBEAT),
        consumer_assignment_interval_ms: of(ASSIGNMENT),
    }
}

#[cfg(test)]
mod tests {
    use ottla_controller::record::{GroupConfigRecord, Record};
    use ottla_model::config::layers::Values;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let settings = settings(&Layers::default());
        assert_eq!(
            (settings.initial_rebalance_delay_ms, settings.classic_max_size),
            (3_000, i32::MAX as usize)
        );
        assert_eq!((settings.min_session_timeout_ms, settings.max_session_timeout_ms), (6_000, 1_800_000));
        assert_eq!(settings.consumer_assignors, ["uniform", "range"]);
        assert_eq!(settings.consumer_session_timeout_ms, 45_000);
        assert_eq!(settings.consumer_heartbeat_interval_ms, 5_000);
        assert_eq!(settings.consumer_assignment_interval_ms, 1_000);
        assert_eq!(settings.migration, Migration::Bidirectional);
        assert!(settings.consumer_protocol && settings.classic_protocol);
        assert_eq!(settings.offset_metadata_max_bytes, 4096);
        assert_eq!(settings.offsets_retention_ms, 7 * 24 * 3_600_000);
        assert_eq!(settings.offsets_retention_check_interval_ms, 600_000);
    }

    #[test]
    fn what_is_given_holds_within_its_bounds() {
        let given = values(&[
            ("group.coordinator.rebalance.protocols", "classic"),
            ("group.consumer.migration.policy", "UPGRADE"),
            ("group.consumer.max.assignment.interval.ms", "2000"),
            ("group.consumer.assignment.interval.ms", "9000"),
            ("offset.metadata.max.bytes", "-1"),
        ]);
        let settings = settings(&Layers::new(vec![&given]));
        assert!(settings.classic_protocol && !settings.consumer_protocol);
        assert_eq!((settings.migration, settings.offset_metadata_max_bytes), (Migration::Upgrade, 0));
        assert_eq!(settings.consumer_assignment_interval_ms, 2_000);
    }

    #[test]
    fn a_groups_own_timers_stand_over_the_brokers_as_far_as_it_allows() {
        let changes = [(SESSION, "50000"), (HEARTBEAT, "14000")];
        let changes =
            changes.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let record = Record::GroupConfig(GroupConfigRecord { group: "g".to_owned(), changes });
        let image = Image::default().apply([&record]).expect("it fits");
        let given = values(&[("group.consumer.max.heartbeat.interval.ms", "9000")]);
        let bounds = Bounds::read(&Layers::new(vec![&given]));
        let own = overrides(&image, &bounds, "g");
        assert_eq!(own.consumer_session_timeout_ms, Some(50_000));
        assert_eq!(own.consumer_heartbeat_interval_ms, Some(9_000), "the nearest that is allowed");
        assert_eq!(own.consumer_assignment_interval_ms, None);
        assert_eq!(overrides(&image, &bounds, "other"), GroupOverrides::default());
    }
}
