//! What a group's own timers may be: between the least and the most of the broker, and a heartbeat shorter than the
//! session. The rules of config changes ask here; `groups::settings` reads with the same bounds what was set before the
//! broker's changed.

use ottla_controller::image::Configs;
use ottla_model::config::{Layers, Scope, value_over};
use ottla_model::error::{ErrorCode, KafkaError};

/// A group's keys, each with the broker's keys of its least and its most.
const BOUNDED: [(&str, &str, &str); 3] = [
    (HEARTBEAT, "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    (SESSION, "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    (ASSIGNMENT, "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
];
pub const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
pub const SESSION: &str = "consumer.session.timeout.ms";
pub const ASSIGNMENT: &str = "consumer.assignment.interval.ms";

/// The least and the most of each timer, in milliseconds.
pub struct Bounds([(&'static str, i32, i32); 3]);

impl Bounds {
    pub fn read(broker: &Layers<'_>) -> Bounds {
        Bounds(BOUNDED.map(|(name, least, most)| (name, bound(broker, least), bound(broker, most))))
    }

    /// `value`, or the bound of `name` that it has passed.
    pub fn nearest(&self, name: &str, value: i32) -> i32 {
        let bounds = self.0.iter().find(|(known, ..)| *known == name);
        bounds.map_or(value, |(_, least, most)| value.min(*most).max(*least))
    }
}

/// Refuses with INVALID_CONFIG what `configs`, all that a group would have, cannot be.
pub fn check(broker: &Layers<'_>, configs: &Configs) -> Result<(), KafkaError> {
    let refuse = |message: String| Err(KafkaError::new(ErrorCode::InvalidConfig, message));
    for (name, least, most) in BOUNDED {
        let Some(value) = configs.get(name).and_then(|value| value.trim().parse::<i32>().ok()) else {
            continue;
        };
        let (low, high) = (bound(broker, least), bound(broker, most));
        if value < low {
            return refuse(format!(
                "{name}={value} must be greater than or equal to {least}, which is {low}"
            ));
        }
        if value > high {
            return refuse(format!("{name}={value} must be less than or equal to {most}, which is {high}"));
        }
    }
    let of =
        |name| value_over(Scope::Group, configs, broker, name).and_then(|value| value.parse::<i32>().ok());
    match (of(SESSION), of(HEARTBEAT)) {
        (Some(session), Some(heartbeat)) if session <= heartbeat => {
            refuse(format!("{SESSION}={session} must be greater than {HEARTBEAT}={heartbeat}"))
        }
        _ => Ok(()),
    }
}

fn bound(broker: &Layers<'_>, name: &str) -> i32 {
    broker.number(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_groups_timers_keep_to_the_brokers_bounds() {
        let given = values(&[("group.consumer.min.session.timeout.ms", "6000")]);
        let broker = Layers::new(vec![&given]);
        for (configs, refusal) in [
            (&[][..], None),
            (&[(SESSION, "6000")], None),
            (&[(SESSION, "5999")], Some("group.consumer.min.session.timeout.ms, which is 6000")),
            (&[(SESSION, "60001")], Some("group.consumer.max.session.timeout.ms, which is 60000")),
            (&[(HEARTBEAT, "4999")], Some("group.consumer.min.heartbeat.interval.ms")),
            (&[(ASSIGNMENT, "15000")], None),
            (&[(ASSIGNMENT, "15001")], Some("group.consumer.max.assignment.interval.ms")),
            (&[(SESSION, "6000"), (HEARTBEAT, "6000")], Some("must be greater than consumer.heartbeat")),
            (&[(HEARTBEAT, "15000"), (SESSION, "14000")], Some("must be greater than consumer.heartbeat")),
        ] {
            let checked = check(&broker, &values(configs));
            match refusal {
                None => assert_eq!(checked, Ok(()), "{configs:?}"),
                Some(part) => {
                    let error = checked.expect_err("it is refused");
                    assert_eq!(error.code, ErrorCode::InvalidConfig);
                    assert!(error.message.contains(part), "{}", error.message);
                }
            }
        }
    }
}
