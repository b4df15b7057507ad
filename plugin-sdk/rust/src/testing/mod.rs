//! Calls a plugin on the author's machine as a broker would: JSON config in, one batch at a time, the placement or the
//! verdicts out.

mod retention;

use crate::answer::Answer;
use crate::config;
use crate::keys::{self, KeyPartitioner};
use crate::records::{self, Column, Columns, Fields, RecordPartitioner};
use crate::topic::{Partitions, Topic};

pub use retention::{Outcomes, Policy};

/// What a broker is told about a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One partition per record.
    Placed(Vec<u32>),
    /// Index and reason of each bad record.
    Rejected(Vec<(u32, String)>),
    Failed(String),
}

impl Outcome {
    fn of(answer: Answer, count: usize, client: u32) -> Outcome {
        match answer {
            Answer::Stay => Outcome::Placed(vec![client; count]),
            Answer::All(partition) => Outcome::Placed(vec![partition; count]),
            Answer::Each(each) => Outcome::Placed(each),
            Answer::Rejected(list) => Outcome::Rejected(list),
            Answer::Failed(reason) => Outcome::Failed(reason),
        }
    }

    /// The partitions.
    ///
    /// # Panics
    /// If the batch was not placed.
    #[track_caller]
    pub fn placed(self) -> Vec<u32> {
        match self {
            Outcome::Placed(each) => each,
            other => panic!("not placed: {other:?}"),
        }
    }
}

/// A configured key partitioner.
pub struct Keys<P> {
    plugin: P,
    partitions: Partitions,
}

impl<P: KeyPartitioner> Keys<P> {
    /// Configures an instance for a topic named `test`.
    ///
    /// # Errors
    /// What the broker would show to whoever attaches the plugin.
    pub fn configure(config_json: &str, partitions: Partitions) -> Result<Self, String> {
        let plugin = P::configure(config::parse(config_json)?, &topic(), &partitions)?;
        Ok(Keys { plugin, partitions })
    }

    pub fn observe(&mut self, partitions: Partitions) {
        self.plugin.observe(&partitions);
        self.partitions = partitions;
    }

    pub fn partition(&mut self, client: u32, batch: &[Option<&[u8]>]) -> Outcome {
        let (lengths, bytes) = column(batch.iter().copied());
        let answer = keys::place(&mut self.plugin, &self.partitions, client, &lengths, &bytes);
        Outcome::of(answer, batch.len(), client)
    }
}

/// One record of a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: i64,
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A configured record partitioner.
pub struct Records<P> {
    plugin: P,
    partitions: Partitions,
}

impl<P: RecordPartitioner> Records<P> {
    /// Configures an instance for a topic named `test`.
    ///
    /// # Errors
    /// What the broker would show to whoever attaches the plugin.
    pub fn configure(config_json: &str, partitions: Partitions) -> Result<Self, String> {
        let plugin = P::configure(config::parse(config_json)?, &topic(), &partitions)?;
        Ok(Records { plugin, partitions })
    }

    pub fn fields(&self) -> Fields {
        self.plugin.fields()
    }

    pub fn observe(&mut self, partitions: Partitions) {
        self.plugin.observe(&partitions);
        self.partitions = partitions;
    }

    /// Passes only what [`Self::fields`] asks for, as the broker does.
    pub fn partition(&mut self, client: u32, batch: &[TestRecord<'_>]) -> Outcome {
        let lists = Lists::of(self.plugin.fields(), batch);
        let answer = records::place(&mut self.plugin, &self.partitions, client, lists.columns());
        Outcome::of(answer, batch.len(), client)
    }
}

fn topic() -> Topic {
    Topic { name: "test".into(), ..Topic::default() }
}

/// The lists of a batch as a broker fills them: only what is asked for.
struct Lists {
    count: u32,
    keys: (Vec<i32>, Vec<u8>),
    values: (Vec<i32>, Vec<u8>),
    timestamps_ms: Vec<i64>,
    header_counts: Vec<u32>,
    header_keys: (Vec<i32>, Vec<u8>),
    header_values: (Vec<i32>, Vec<u8>),
}

impl Lists {
    fn of(fields: Fields, batch: &[TestRecord<'_>]) -> Lists {
        let with_headers = || batch.iter().filter(|_| fields.headers);
        let headers = || with_headers().flat_map(|record| record.headers);
        Lists {
            count: batch.len() as u32,
            keys: column(batch.iter().filter(|_| fields.keys).map(|record| record.key)),
            values: column(batch.iter().filter(|_| fields.values).map(|record| record.value)),
            timestamps_ms: batch
                .iter()
                .filter(|_| fields.timestamps)
                .map(|record| record.timestamp_ms)
                .collect(),
            header_counts: with_headers().map(|record| record.headers.len() as u32).collect(),
            header_keys: column(headers().map(|(key, _)| Some(*key))),
            header_values: column(headers().map(|(_, value)| *value)),
        }
    }

    fn columns(&self) -> Columns<'_> {
        Columns {
            count: self.count,
            keys: view(&self.keys),
            values: view(&self.values),
            timestamps_ms: &self.timestamps_ms,
            header_counts: &self.header_counts,
            header_keys: view(&self.header_keys),
            header_values: view(&self.header_values),
        }
    }
}

fn column<'a>(items: impl Iterator<Item = Option<&'a [u8]>>) -> (Vec<i32>, Vec<u8>) {
    let (mut lengths, mut bytes) = (Vec::new(), Vec::new());
    for item in items {
        lengths.push(item.map_or(-1, |item| item.len() as i32));
        bytes.extend_from_slice(item.unwrap_or_default());
    }
    (lengths, bytes)
}

fn view((lengths, bytes): &(Vec<i32>, Vec<u8>)) -> Column<'_> {
    Column { lengths, bytes }
}
