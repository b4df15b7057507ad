//! Memory and processor time of the broker's process, read from `/proc` at each scrape. The names are those that
//! every Prometheus client library gives to them, so existing dashboards find them.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Debug)]
pub(super) struct Process {
    started_s: f64,
}

impl Process {
    pub(super) fn new() -> Process {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Process { started_s: now.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let e = &mut encoder;
        gauge(e, "process_start_time_seconds", "When the broker started, in Unix time", self.started_s)?;
        if let Some(seconds) = cpu_seconds() {
            let metric =
                e.encode_descriptor("process_cpu_seconds", "Processor time used", None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(metric)?;
        }
        if let Some((virtual_bytes, resident_bytes)) = memory_bytes() {
            gauge(e, "process_virtual_memory_bytes", "Address space in use", virtual_bytes)?;
            gauge(e, "process_resident_memory_bytes", "Memory in use", resident_bytes)?;
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            gauge(e, "process_open_fds", "Open files and sockets", files.count())?;
        }
        Ok(())
    }
}

fn gauge<N: EncodeGaugeValue + Copy>(
    e: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: N,
) -> Result<(), fmt::Error>
where
    ConstGauge<N>: EncodeMetric,
{
    ConstGauge::new(value).encode(e.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// Address space and resident memory.
fn memory_bytes() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split_ascii_whitespace().map(str::parse::<u64>);
    let page_bytes = rustix::param::page_size() as u64;
    let (all, resident) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some((all.checked_mul(page_bytes)?, resident.checked_mul(page_bytes)?))
}

/// Time in user and kernel mode together.
fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold spaces; the 14th and 15th are the times.
    let after_name = text.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_and_has_used_the_processor() {
        let (all, resident) = memory_bytes().unwrap();
        assert!(all >= resident && resident > 100_000, "{all} {resident}");
        let before = cpu_seconds().unwrap();
        let mut x = 1u64;
        while cpu_seconds().unwrap() - before < 0.02 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}
