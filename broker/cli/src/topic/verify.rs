//! `ottla topic verify`: has the broker read every batch of a topic and compare it with its checksum, its neighbours and
//! the indexes, and says what is damaged where. Ends with an error where anything is.

use crate::admin_http::escaped;
use crate::connect::Connect;
use crate::output::{field, table};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// Reading a partition of a terabyte takes so long on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(12 * 3600);

pub async fn run(connect: &Connect, topic: &str, partition: Option<i32>) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let http = connect.admin_http(&cluster).await?.patient(TIMEOUT);
    let partitions: Vec<i32> = match partition {
        Some(partition) => vec![partition],
        None => {
            let topics = cluster.topics().await?;
            let known = topics.iter().find(|known| known.name == topic);
            let known =
                known.with_context(|| format!("there is no topic {topic}; see `ottla topic list`"))?;
            (0..i32::try_from(known.partitions.len())?).collect()
        }
    };
    let mut found = Vec::new();
    for partition in partitions {
        let partition = partition.to_string();
        let path = format!("/v1/topics/{}/verify", escaped(topic));
        found.push(http.get(&path, &[("partition", partition.as_str())])?);
    }
    let damaged = found.iter().filter(|one| one["sound"] != true).count();
    let value = json!({ "topic": topic, "sound": damaged == 0, "partitions": found });
    connect.output.print(&value, || text(&found))?;
    if damaged > 0 {
        bail!("{damaged} of {} partitions of {topic} are damaged", found.len());
    }
    Ok(())
}

fn text(found: &[Value]) -> String {
    let heading = ["PARTITION", "IN", "BATCHES", "BYTES", "INDEX ENTRIES", "DAMAGES"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let heading = ["PARTITION", "FILE", "POSITION", "OFFSETS", "WHAT IS WRONG"];
    let mut damages = vec![heading.map(str::to_owned).to_vec()];
    for one in found {
        let partition = field(one, "partition");
        for part in ["log", "lane"].into_iter().filter(|part| !one[part].is_null()) {
            let log = &one[part];
            let listed = log["damages"].as_array().map_or(&[][..], Vec::as_slice);
            let left_out = log["damages_left_out"].as_u64().unwrap_or(0);
            rows.push(vec![
                partition.clone(),
                part.to_owned(),
                field(log, "batches"),
                field(log, "bytes"),
                field(log, "index_entries"),
                (listed.len() as u64 + left_out).to_string(),
            ]);
            for damage in listed {
                let file = if part == "lane" { "lane/" } else { "" }.to_owned() + &field(damage, "file");
                damages.push(vec![
                    partition.clone(),
                    file,
                    field(damage, "position"),
                    offsets(damage),
                    field(damage, "reason"),
                ]);
            }
            if left_out > 0 {
                damages.push(vec![partition.clone(), format!("and {left_out} more")]);
            }
        }
    }
    match damages.len() {
        1 => table(&rows),
        _ => format!("{}\n{}", table(&rows), table(&damages)),
    }
}

fn offsets(damage: &Value) -> String {
    match (damage["first_offset"].as_i64(), damage["last_offset"].as_i64()) {
        (Some(first), Some(last)) => format!("{first}-{last}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_damage_has_its_place_and_sound_partitions_one_line() {
        let log = |damages: Value| json!({ "batches": 3, "bytes": 300, "index_entries": 1, "damages": damages, "damages_left_out": 0 });
        let sound = json!({ "partition": 0, "sound": true, "log": log(json!([])), "lane": null });
        assert_eq!(text(std::slice::from_ref(&sound)).lines().count(), 2);
        let damage = json!({ "file": "00000000000000000000.log", "position": 61, "first_offset": 5, "last_offset": 9, "reason": "CRC is wrong" });
        let bad =
            json!({ "partition": 1, "sound": false, "log": log(json!([])), "lane": log(json!([damage])) });
        let text = text(&[sound, bad]);
        let last: Vec<&str> = text.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(last[..4], ["1", "lane/00000000000000000000.log", "61", "5-9"], "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("lane")).count(), 2, "{text}");
    }
}
