//! `ottla plugin retention`: what says what of a topic stays, and what it would remove.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use super::{Told, config_of, show};
use crate::admin_http::{AdminHttp, escaped};
use crate::output::{field, grouped, table};

#[derive(Args)]
pub struct Retention {
    topic: String,
    /// Tell what would go, by segment and by record; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// Try this plugin instead of the one that is attached: NAME or NAME@VERSION
    #[arg(long, requires = "dry_run")]
    plugin: Option<String>,
    /// JSON that the plugin understands
    #[arg(long, value_name = "JSON", requires = "plugin")]
    config: Option<String>,
    /// A file with that JSON
    #[arg(long, requires = "plugin", conflicts_with = "config")]
    config_file: Option<PathBuf>,
}

impl Retention {
    pub(super) fn run(&self, http: &AdminHttp) -> anyhow::Result<Told> {
        if !self.dry_run {
            return Ok((http.get(&path(&self.topic), &[])?, attached));
        }
        let mut wanted = json!({});
        if let Some(plugin) = &self.plugin {
            wanted["plugin"] = json!(plugin);
        }
        if let Some(config) = config_of(self.config.as_deref(), self.config_file.as_deref())? {
            wanted["config"] = config;
        }
        let body = serde_json::to_vec(&wanted)?;
        Ok((http.post_json(&format!("{}/dry-run", path(&self.topic)), &body)?, report))
    }
}

/// Where the admin has a topic's policy.
pub fn path(topic: &str) -> String {
    format!("/v1/topics/{}/retention", escaped(topic))
}

/// Lets a topic's retention run now.
pub fn clean(http: &AdminHttp, topic: &str) -> anyhow::Result<Value> {
    let answer = http.post_json(&format!("/v1/topics/{}/clean", escaped(topic)), b"{}")?;
    if answer["topic"].is_null() {
        bail!("the broker's answer is no report");
    }
    Ok(answer)
}

/// A topic's policy, for people.
pub fn attached(status: &Value) -> String {
    let topic = field(status, "topic");
    let hold = if status["hold"] == Value::Bool(true) { "on hold: nothing is removed; " } else { "" };
    if status["plugin"].is_null() {
        return format!("topic {topic}: {hold}no retention plugin, its own retention holds");
    }
    let judges: Vec<&str> =
        status["judges"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = format!(
        "topic {topic}: {hold}{}@{} ({}), {}, judges {}\n",
        field(status, "plugin"),
        field(status, "version"),
        show::short_digest(status),
        field(status, "state"),
        judges.join(" and "),
    );
    if !status["config"].is_null() {
        text.push_str(&format!("  config {}\n", status["config"]));
    }
    if !status["trouble"].is_null() {
        text.push_str(&format!("  {}\n", status["trouble"]["message"]));
    }
    text
}

/// What a pass removed, or would, for people.
pub fn report(report: &Value) -> String {
    let (would, totals) = (report["dry_run"] == Value::Bool(true), &report["totals"]);
    let number = |value: &Value, key: &str| grouped(value[key].as_u64().unwrap_or(0));
    let by = match report["policy"].is_null() {
        true => "the topic's own retention".to_owned(),
        false => format!("{}@{}", field(&report["policy"], "name"), field(&report["policy"], "version")),
    };
    let mut text = format!(
        "topic {}: by {by} {} {} segments, {} records erased, {} turned into tombstones, {} bytes of {}\n",
        field(report, "topic"),
        if would { "there would go" } else { "there went" },
        number(totals, "deleted_segments"),
        number(totals, "erased_records"),
        number(totals, "tombstoned_records"),
        number(totals, "freed_bytes"),
        number(totals, "bytes"),
    );
    if report["hold"] == Value::Bool(true) {
        text.push_str("the topic is on hold: nothing goes until ottla.retention.hold is false\n");
    }
    let heading =
        ["PARTITION", "SEGMENT", "OUTCOME", "RECORDS", "BYTES", "ERASED", "TOMBSTONES", "FREED", "OFFSETS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut notes = String::new();
    for partition in report["partitions"].as_array().into_iter().flatten() {
        let index = field(partition, "partition");
        for segment in partition["segments"].as_array().into_iter().flatten() {
            rows.push(vec![
                index.clone(),
                format!("{}-{}", field(segment, "base_offset"), field(segment, "end_offset")),
                outcome(segment),
                number(segment, "records"),
                number(segment, "bytes"),
                number(segment, "erased_records"),
                number(segment, "tombstoned_records"),
                number(segment, "freed_bytes"),
                ranges(&segment["offsets"]),
            ]);
        }
        notes.push_str(&groups(&index, &partition["groups"]));
        let failure = &partition["failure"];
        if !failure.is_null() {
            notes.push_str(&format!(
                "partition {index} failed ({}): {}\n",
                field(failure, "reason"),
                field(failure, "message")
            ));
        }
        let left = partition["lane"]["unresolved_batches"].as_u64().unwrap_or(0);
        if left > 0 {
            notes.push_str(&format!(
                "partition {index}: {left} batches in its lane are on their way; run this again once they arrived\n"
            ));
        }
    }
    if rows.len() > 1 {
        text.push_str(&table(&rows));
    }
    text + &notes
}

/// Up to where the slowest groups have read a partition. Nothing where the policy was not asked, or there is none.
fn groups(partition: &str, groups: &Value) -> String {
    const SHOWN_MAX: usize = 4;
    let count = groups["count"].as_u64().unwrap_or(0);
    if groups.is_null() || count == 0 {
        return String::new();
    }
    let slowest = groups["slowest"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |group: &Value| match group["committed_offset"].as_i64() {
        Some(offset) => format!("{} has read to {offset}", field(group, "group")),
        None => format!("{} has committed nothing", field(group, "group")),
    };
    let mut shown: Vec<String> = slowest.iter().take(SHOWN_MAX).map(one).collect();
    let more = count.saturating_sub(shown.len() as u64);
    if more > 0 {
        shown.push(format!("{} more are further", grouped(more)));
    }
    format!("partition {partition}: {}\n", shown.join(", "))
}

fn outcome(segment: &Value) -> String {
    let outcome = field(segment, "outcome");
    if segment["active"] == Value::Bool(true) { format!("{outcome}, active") } else { outcome }
}

/// The first ranges of offsets, ends inclusive as people count.
fn ranges(offsets: &Value) -> String {
    const SHOWN_MAX: usize = 4;
    let all = offsets.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |range: &Value| match (range[0].as_i64(), range[1].as_i64()) {
        (Some(from), Some(end)) if end == from + 1 => from.to_string(),
        (Some(from), Some(end)) => format!("{from}-{}", end - 1),
        _ => "?".to_owned(),
    };
    let mut shown: Vec<String> = all.iter().take(SHOWN_MAX).map(one).collect();
    if all.len() > SHOWN_MAX {
        shown.push(format!("and {} more", all.len() - SHOWN_MAX));
    }
    if shown.is_empty() { "-".to_owned() } else { shown.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_goes_and_what_failed() {
        let segment = json!({ "base_offset": 0, "end_offset": 40, "active": true, "outcome": "judged", "records": 1_200,
            "bytes": 9_000, "erased_records": 7, "tombstoned_records": 0, "freed_bytes": 700,
            "offsets": [[1, 2], [4, 7], [9, 10], [12, 13], [20, 21]] });
        let partition = json!({ "partition": 3, "segments": [segment], "lane": { "unresolved_batches": 2 },
            "groups": { "count": 1_006, "slowest": [
                { "group": "new", "committed_offset": null, "committed_ms": null },
                { "group": "billing", "committed_offset": 12, "committed_ms": 5 }] },
            "failure": { "reason": "trap", "message": "it fell" } });
        let answer = json!({ "topic": "orders", "dry_run": true, "hold": true, "partitions": [partition],
            "policy": { "name": "erase-subject", "version": "0.1.0" },
            "totals": { "erased_records": 7, "bytes": 9_000, "freed_bytes": 700 } });
        let text = report(&answer);
        assert!(
            text.starts_with("topic orders: by erase-subject@0.1.0 there would go 0 segments, 7 records"),
            "{text}"
        );
        for part in [
            "on hold",
            "judged, active",
            "1,200",
            "1,4-6,9,12,and 1 more",
            "failed (trap): it fell",
            "2 batches",
            "partition 3: new has committed nothing, billing has read to 12, 1,004 more are further",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
