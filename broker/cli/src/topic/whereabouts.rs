//! `ottla topic where`: the parts of a batch that a plugin moved, by the offset that its producer was answered, and where
//! each part is now.

use crate::admin_http::escaped;
use crate::connect::Connect;
use crate::output::{field, table};
use serde_json::Value;

pub async fn run(connect: &Connect, topic: &str, partition: i32, offset: i64) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let http = connect.admin_http(&cluster).await?;
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let query = [("partition", partition.as_str()), ("offset", offset.as_str())];
    let found = http.get(&format!("/v1/topics/{}/where", escaped(topic)), &query)?;
    connect.output.print(&found, || text(&found))
}

fn text(found: &Value) -> String {
    let heading = ["RECORDS", "PARTITION", "OFFSETS", "STATE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut first = 0;
    for part in found["parts"].as_array().into_iter().flatten() {
        let records = part["records"].as_i64().unwrap_or(0);
        let offsets = part["offset"].as_i64().map_or("-".to_owned(), |offset| range(offset, records));
        let state = match part["state"].as_str() {
            Some("under-way") => "still in the lane",
            Some("unknown") => "was stored; deleted since, or its offset is not known any more",
            _ => "stored",
        };
        rows.push(vec![range(first, records), field(part, "partition"), offsets, state.to_owned()]);
        first += records;
    }
    let plugin = &found["plugin"];
    let by = match plugin {
        Value::Null => "no plugin that is still on record".to_owned(),
        _ => format!(
            "{}@{}, config {}",
            field(plugin, "name"),
            field(plugin, "version"),
            field(found, "config")
        ),
    };
    let record = field(found, "record");
    format!("record {record} of a batch of {first}, placed by {by}\n{}", table(&rows))
}

fn range(first: i64, count: i64) -> String {
    if count == 1 { first.to_string() } else { format!("{first}-{}", first + count - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_part_says_where_it_is_or_why_that_is_not_known() {
        let part = |records: i64, partition: i64, offset: Option<i64>, state: &str| json!({ "records": records, "partition": partition, "offset": offset, "state": state });
        let parts =
            [part(2, 7, Some(40), "stored"), part(1, 3, None, "under-way"), part(3, 1, None, "unknown")];
        let plugin = json!({ "name": "vip", "version": "1.0.0" });
        let found = json!({ "record": 1, "parts": parts, "plugin": plugin, "config": "{}" });
        let text = text(&found);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(text.starts_with("record 1 of a batch of 6, placed by vip@1.0.0, config {}\n"), "{text}");
        assert_eq!(lines[2], ["0-1", "7", "40-41", "stored"]);
        assert_eq!(lines[3][..4], ["2", "3", "-", "still"]);
        assert_eq!(lines[4][..5], ["3-5", "1", "-", "was", "stored;"]);
    }
}
