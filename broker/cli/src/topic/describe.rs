//! `ottla topic describe`: a topic's partitions with their ends, the configs that differ from their defaults, and the
//! plugin that places its records.

use crate::admin_http::escaped;
use crate::connect::Connect;
use crate::output::{field, table};
use ottla_client::offsets::{At, find};
use ottla_client::{Admin, Cluster, ConfigEntry, ConfigSource, Resource, Topic};
use serde_json::{Value, json};

pub async fn run(connect: &Connect, name: &str) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let topic = cluster.refresh(name).await?;
    let configs = Admin::new(&cluster).describe_configs(&Resource::Topic(name.to_owned()), None).await?;
    let set: Vec<_> = configs.iter().filter(|entry| entry.source == ConfigSource::Topic).collect();
    let partitions = partitions(&cluster, &topic).await?;
    let partitioner = match set.iter().any(|entry| entry.name == "ottla.partitioner") {
        true => {
            let http = connect.admin_http(&cluster).await?;
            http.get(&format!("/v1/topics/{}/partitioner", escaped(name)), &[])?
        }
        false => Value::Null,
    };
    let value = json!({
        "name": topic.name,
        "id": topic.id,
        "internal": topic.is_internal,
        "partitions": partitions,
        "configs": set.iter().map(|entry| (entry.name.clone(), json!(entry.value))).collect::<serde_json::Map<_, _>>(),
        "partitioner": partitioner,
    });
    connect.output.print(&value, || text(&value, &set))
}

async fn partitions(cluster: &Cluster, topic: &Topic) -> anyhow::Result<Vec<Value>> {
    let mut described = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let begin = find(cluster, &topic.name, partition.index, At::Earliest).await?;
        let end = find(cluster, &topic.name, partition.index, At::Latest).await?;
        described.push(json!({
            "partition": partition.index,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
            "replicas": partition.replicas,
            "in_sync": partition.in_sync,
            "begin_offset": begin,
            "end_offset": end,
        }));
    }
    Ok(described)
}

fn text(value: &Value, set: &[&ConfigEntry]) -> String {
    let mut text = format!("topic {}, id {}\n", field(value, "name"), field(value, "id"));
    for entry in set {
        text.push_str(&format!("  {}={}\n", entry.name, entry.value.as_deref().unwrap_or("-")));
    }
    let partitioner = &value["partitioner"];
    if !partitioner.is_null() {
        text.push_str(&format!(
            "partitioner {}@{}, {}, mode {}\n",
            field(partitioner, "plugin"),
            field(partitioner, "version"),
            field(partitioner, "state"),
            field(partitioner, "mode"),
        ));
        if !partitioner["trouble"].is_null() {
            text.push_str(&format!("  {}\n", partitioner["trouble"]));
        }
    }
    let heading = ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "BEGIN", "END"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let keys = ["partition", "leader", "replicas", "in_sync", "begin_offset", "end_offset"];
    for partition in value["partitions"].as_array().into_iter().flatten() {
        rows.push(keys.iter().map(|key| field(partition, key)).collect());
    }
    text + &table(&rows)
}
