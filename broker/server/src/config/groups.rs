//! What the keys of groups must be to each other. Each is judged alone by the list of keys; here stand the relations
//! that Kafka asks for at a start, between the value of a group's timer and the least and the most of it.

use ottla_model::config::Layers;

use super::number;

/// A timer of consumer groups, by the words that stand in its keys.
const TIMERS: [&str; 3] = ["heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"];

/// Refuses what contradicts itself, with both keys and their values.
pub(super) fn check(layers: &Layers<'_>) -> Result<(), String> {
    let classic = ["group.min.session.timeout.ms", "group.max.session.timeout.ms"];
    in_order(layers, classic[0], classic[1])?;
    for timer in TIMERS {
        let [value, least, most] = ["", "min.", "max."].map(|part| format!("group.consumer.{part}{timer}"));
        in_order(layers, &least, &most)?;
        in_order(layers, &least, &value)?;
        in_order(layers, &value, &most)?;
    }
    let [heartbeat, session] = [TIMERS[0], TIMERS[1]].map(|timer| format!("group.consumer.{timer}"));
    let (beats_ms, lasts_ms): (i64, i64) = (number(layers, &heartbeat)?, number(layers, &session)?);
    if beats_ms >= lasts_ms {
        return Err(format!("{heartbeat}={beats_ms} must be less than {session}={lasts_ms}"));
    }
    Ok(())
}

fn in_order(layers: &Layers<'_>, less: &str, more: &str) -> Result<(), String> {
    let (low, high): (i64, i64) = (number(layers, less)?, number(layers, more)?);
    if low <= high { Ok(()) } else { Err(format!("{less}={low} must not be above {more}={high}")) }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn contradictions_are_refused_at_the_start() {
        for (overrides, parts) in [
            (
                &[("group.min.session.timeout.ms", "9"), ("group.max.session.timeout.ms", "8")][..],
                ["=9", "=8"],
            ),
            (&[("group.consumer.min.heartbeat.interval.ms", "15001")], ["min.heartbeat", "=15000"]),
            (
                &[("group.consumer.heartbeat.interval.ms", "4999")],
                ["=4999", "min.heartbeat.interval.ms=5000"],
            ),
            (
                &[("group.consumer.heartbeat.interval.ms", "15001")],
                ["=15001", "max.heartbeat.interval.ms=15000"],
            ),
            (&[("group.consumer.session.timeout.ms", "44999")], ["=44999", "min.session.timeout.ms=45000"]),
            (&[("group.consumer.max.session.timeout.ms", "44999")], ["=45000", "=44999"]),
            (&[("group.consumer.assignment.interval.ms", "15001")], ["=15001", "=15000"]),
            (
                &[
                    ("group.consumer.max.heartbeat.interval.ms", "45000"),
                    ("group.consumer.heartbeat.interval.ms", "45000"),
                ],
                ["heartbeat.interval.ms=45000 must be less than", "session.timeout.ms=45000"],
            ),
        ] {
            let error = Config::with(overrides).expect_err("it contradicts itself").to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{overrides:?}: {error}");
        }
        let fits = [
            ("group.consumer.min.session.timeout.ms", "6000"),
            ("group.consumer.session.timeout.ms", "6000"),
            ("group.consumer.min.heartbeat.interval.ms", "100"),
            ("group.consumer.heartbeat.interval.ms", "100"),
        ];
        assert!(Config::with(&fits).is_ok());
    }
}
