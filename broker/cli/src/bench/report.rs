//! What a run came to, in figures that can be compared with those of another broker.

use crate::output::grouped;
use serde_json::{Value, json};
use std::time::Duration;

pub struct Totals {
    pub records: u64,
    pub bytes: u64,
    pub took: Duration,
    /// The processor time that the broker used meanwhile.
    pub broker_cpu: Option<Duration>,
}

const MIB: f64 = (1u64 << 20) as f64;

impl Totals {
    pub fn records_per_s(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    pub fn mib_per_s(&self) -> f64 {
        self.bytes as f64 / MIB / self.took.as_secs_f64().max(f64::EPSILON)
    }

    pub fn broker_cpu_us_per_record(&self) -> Option<f64> {
        self.broker_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.records.max(1) as f64)
    }

    pub fn json(&self) -> Value {
        json!({
            "records": self.records,
            "bytes": self.bytes,
            "seconds": rounded(self.took.as_secs_f64()),
            "records_per_s": rounded(self.records_per_s()),
            "mib_per_s": rounded(self.mib_per_s()),
            "broker_cpu_us_per_record": self.broker_cpu_us_per_record().map(rounded),
        })
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} records in {:.2} s: {} records/s, {:.1} MiB/s",
            grouped(self.records),
            self.took.as_secs_f64(),
            grouped(self.records_per_s() as u64),
            self.mib_per_s(),
        );
        if let Some(us) = self.broker_cpu_us_per_record() {
            text.push_str(&format!(", broker CPU {us:.2} µs per record"));
        }
        text
    }
}

/// Three digits behind the point: more would be noise.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
