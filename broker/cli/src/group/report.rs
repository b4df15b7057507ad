//! How far a group is behind, as its broker judges it. Of a broker that judges nothing, Kafka itself among them, only what
//! is committed and where the logs end is known, and that is reported in the same form.

use super::places::{Place, places};
use super::spark::spark;
use crate::admin_http::{AdminHttp, Unreachable, escaped};
use crate::connect::Connect;
use crate::output::{field, grouped};
use ottla_client::{Cluster, Groups};
use serde_json::{Value, json};

/// Who is asked.
pub struct Source {
    connect: Connect,
    cluster: Cluster,
    /// None for a broker that is not Ottla's.
    http: Option<AdminHttp>,
    group: String,
}

impl Source {
    pub async fn find(connect: &Connect, group: &str) -> anyhow::Result<Source> {
        let cluster = connect.cluster().await?;
        let mut source = Source { connect: connect.clone(), cluster, http: None, group: group.to_owned() };
        source.find_http().await?;
        if let Some(Err(error)) = source.judged()
            && error.is::<Unreachable>()
        {
            eprintln!("ottla: {error}; without it only offsets are known");
            source.http = None;
        }
        Ok(source)
    }

    async fn find_http(&mut self) -> anyhow::Result<()> {
        let listener = self.connect.admin_listener(&self.cluster).await?;
        self.http = listener.map(|address| AdminHttp::new(&address));
        Ok(())
    }

    /// What is known now, in the form of `GET /v1/groups/{group}/lag`; null for what nobody knows.
    pub async fn look(&mut self) -> anyhow::Result<Value> {
        match self.judged() {
            // A broker that was restarted may listen elsewhere.
            Some(Err(error)) if error.is::<Unreachable>() => {
                self.find_http().await?;
                self.judged().unwrap_or(Err(error))
            }
            Some(judged) => judged,
            None => self.plain().await,
        }
    }

    fn judged(&self) -> Option<anyhow::Result<Value>> {
        let path = format!("/v1/groups/{}/lag", escaped(&self.group));
        self.http.as_ref().map(|http| http.get(&path, &[]))
    }

    async fn plain(&self) -> anyhow::Result<Value> {
        let group = Groups::new(&self.cluster).describe(&self.group).await?;
        let places = places(&self.cluster, &group).await?;
        Ok(plain_report(&self.group, &places))
    }
}

fn plain_report(group: &str, places: &[Place]) -> Value {
    let lags = || places.iter().filter_map(Place::lag);
    let partitions = places.iter().map(|place| {
        json!({
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset(),
            "end": place.end,
            "lag": place.lag(),
            "lag_seconds": null,
            "status": null,
            "recent": [],
            "owner": place.member.as_ref().map(|reader| &reader.host),
            "client_id": place.member.as_ref().map(|reader| &reader.client_id),
        })
    });
    json!({
        "group": group,
        "cluster": null,
        "status": null,
        "complete": null,
        "records_lag": lags().sum::<i64>(),
        "records_lag_max": lags().max().unwrap_or(0),
        "seconds_lag": null,
        "commits_per_s": null,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

/// The group in one line.
pub fn summary(report: &Value) -> String {
    let count = |key: &str| grouped(report[key].as_u64().unwrap_or(0));
    let mut text = format!("group {}: ", field(report, "group"));
    if let Some(status) = report["status"].as_str() {
        text.push_str(&format!("{status}, "));
    }
    text.push_str(&format!("{} records behind", count("records_lag")));
    if let Some(seconds) = report["seconds_lag"].as_f64() {
        text.push_str(&format!(" and {}", span(seconds)));
    }
    text.push_str(&format!(", at most {} in a partition", count("records_lag_max")));
    if let Some(rate) = report["commits_per_s"].as_f64() {
        text.push_str(&format!(", {rate:.1} commits/s"));
    }
    if let Some(complete) = report["complete"].as_f64().filter(|complete| *complete < 1.0) {
        text.push_str(&format!("; {:.0} % of its windows are full so far", complete * 100.0));
    }
    text
}

/// A heading and a row for each partition. What is not known of any partition has no column.
pub fn rows(report: &Value, spark_columns: usize) -> Vec<Vec<String>> {
    let partitions = report["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    let known = |key: &str| partitions.iter().any(|one| !one[key].is_null());
    let numbers = |one: &Value| -> Vec<i64> {
        one["recent"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
    };
    let rate = |one: &Value, key: &str| one[key].as_f64().map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    let seconds = |one: &Value, key: &str| one[key].as_f64().map_or("-".to_owned(), span);
    type Cell<'a> = Box<dyn Fn(&Value) -> String + 'a>;
    let columns: Vec<(&str, bool, Cell<'_>)> = vec![
        ("STATUS", known("status"), Box::new(|one| field(one, "status"))),
        ("TOPIC", true, Box::new(|one| field(one, "topic"))),
        ("PARTITION", true, Box::new(|one| field(one, "partition"))),
        ("LAG", true, Box::new(|one| field(one, "lag"))),
        ("BEHIND", known("lag_seconds"), Box::new(|one| seconds(one, "lag_seconds"))),
        (
            "RECENT",
            partitions.iter().any(|one| !numbers(one).is_empty()),
            Box::new(|one| spark(&numbers(one), spark_columns)),
        ),
        ("OFFSET", true, Box::new(|one| field(one, "offset"))),
        ("END", true, Box::new(|one| field(one, "end"))),
        ("CONSUMED/S", known("consume_rate"), Box::new(|one| rate(one, "consume_rate"))),
        ("PRODUCED/S", known("produce_rate"), Box::new(|one| rate(one, "produce_rate"))),
        ("CAUGHT UP IN", known("caught_up_s"), Box::new(|one| seconds(one, "caught_up_s"))),
        ("CLIENT", known("client_id"), Box::new(|one| field(one, "client_id"))),
        ("HOST", known("owner"), Box::new(|one| field(one, "owner"))),
    ];
    let shown: Vec<_> = columns.into_iter().filter(|(_, shown, _)| *shown).collect();
    let mut rows = vec![shown.iter().map(|(heading, _, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(partitions.iter().map(|one| shown.iter().map(|(_, _, cell)| cell(one)).collect()));
    rows
}

/// Seconds as people say them.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 2.0 * 3600.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_takes_no_room() {
        let judged = json!({ "group": "g", "status": "WARN", "complete": 0.5, "records_lag": 12_345, "records_lag_max": 12_345,
            "seconds_lag": 300.0, "commits_per_s": 2.0, "partitions": [{ "topic": "t", "partition": 0, "offset": 5, "end": 12_350,
            "lag": 12_345, "lag_seconds": 300.0, "consume_rate": 1.0, "produce_rate": 2.0, "caught_up_s": null, "status": "WARN",
            "recent": [0, 7], "owner": "/127.0.0.1", "client_id": "c" }] });
        let said = summary(&judged);
        assert_eq!(
            said,
            "group g: WARN, 12,345 records behind and 5 min, at most 12,345 in a partition, 2.0 commits/s; 50 % of its windows are full so far"
        );
        let full = rows(&judged, 10);
        assert_eq!(full[1][..6], ["WARN", "t", "0", "12345", "5 min", "▁█"]);
        assert!(!full[0].contains(&"CAUGHT UP IN".to_owned()));
        let place =
            Place { topic: "t".to_owned(), partition: 0, committed: None, end: Some(9), member: None };
        let plain = plain_report("g", &[place]);
        assert_eq!(summary(&plain), "group g: 0 records behind, at most 0 in a partition");
        assert_eq!(
            rows(&plain, 10),
            [["TOPIC", "PARTITION", "LAG", "OFFSET", "END"], ["t", "0", "-", "-", "9"]]
        );
    }

    #[test]
    fn spans_are_short() {
        let spans: Vec<_> = [0.0, 9.9, 119.0, 3600.0, 7200.0, 864_000.0].map(span).to_vec();
        assert_eq!(spans, ["0.0 s", "9.9 s", "119 s", "60 min", "2 h", "10 d"]);
    }
}
