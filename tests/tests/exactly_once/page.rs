//! What the broker shows over HTTP: its metrics, and the switches of the topic's plugin.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::topic::TOPIC;

async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    ensure!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{path}: {head}");
    Ok(body.to_owned())
}

/// Each metric of the page, summed over its labels.
pub async fn metrics(address: SocketAddr) -> Result<BTreeMap<String, f64>> {
    let page = get(address, "/metrics").await?;
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else { continue };
        let name = name.split('{').next().unwrap_or(name);
        *sums.entry(name.to_owned()).or_default() += value.parse::<f64>()?;
    }
    Ok(sums)
}

/// One entry of the topic's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    pub at_ms: i64,
    pub config: String,
    /// The component's SHA-256, and what lanes record of it together with the config; both in hexadecimal.
    pub digest: String,
    pub rule: String,
    /// The ends of the partitions' logs when it began.
    pub offsets: Vec<i64>,
}

/// The history as far as the broker remembers it, oldest first.
pub async fn switches(address: SocketAddr) -> Result<Vec<Switch>> {
    let status: Value =
        serde_json::from_str(&get(address, &format!("/v1/topics/{TOPIC}/partitioner")).await?)?;
    let switches = status["switches"].as_array().context("no switches")?;
    let read = |switch: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Switch {
            at_ms: switch["at_ms"].as_i64()?,
            config: text(&switch["config"])?,
            digest: text(&switch["plugin"]["digest"])?,
            rule: text(&switch["plugin"]["rule"])?,
            offsets: switch["offsets"].as_array()?.iter().filter_map(Value::as_i64).collect(),
        })
    };
    switches.iter().map(|switch| read(switch).with_context(|| format!("{switch}"))).collect()
}
