//! Families whose values are not counted here but read at each scrape from whoever holds them: partitions, lanes,
//! plugins. The owner registers a closure; the scrape turns what it returns into lines of the page.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Samples of one family on one page, at most; the rest is left out, so that a scrape stays bounded.
const SAMPLES_MAX: usize = 100_000;

/// Whether a family only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
}

/// One line: its labels and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Sample {
    pub fn new(labels: Vec<(&'static str, String)>, value: f64) -> Sample {
        Sample { labels, value }
    }
}

/// A family that is read at each scrape.
pub(super) struct ReadFamily {
    name: &'static str,
    help: &'static str,
    kind: Type,
    read: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl ReadFamily {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        kind: Type,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> ReadFamily {
        ReadFamily { name, help, kind, read: Box::new(read) }
    }
}

impl fmt::Debug for ReadFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFamily").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for ReadFamily {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = match self.kind {
            Type::Counter => MetricType::Counter,
            Type::Gauge => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for sample in (self.read)().into_iter().take(SAMPLES_MAX) {
            // A family of one sample without labels has no braces.
            if sample.labels.is_empty() {
                encode(&mut metric, self.kind, sample.value)?;
            } else {
                encode(&mut metric.encode_family(&sample.labels)?, self.kind, sample.value)?;
            }
        }
        Ok(())
    }
}

fn encode(line: &mut MetricEncoder<'_>, kind: Type, value: f64) -> Result<(), fmt::Error> {
    match kind {
        Type::Counter => line.encode_counter::<NoLabelSet, _, f64>(&value, None),
        Type::Gauge => line.encode_gauge(&value),
    }
}
