//! Calls a plugin on the author's machine as a broker would: JSON config in, one batch at a time, the placement out.

use crate::answer::Answer;
use crate::config;
use crate::keys::{self, KeyPartitioner};
use crate::records::{self, Column, Columns, Fields, RecordPartitioner};
use crate::topic::{Partitions, Topic};

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
        let fields = self.plugin.fields();
        let keys = column(batch.iter().filter(|_| fields.keys).map(|record| record.key));
        let values = column(batch.iter().filter(|_| fields.values).map(|record| record.value));
        let timestamps: Vec<i64> =
            batch.iter().filter(|_| fields.timestamps).map(|record| record.timestamp_ms).collect();
        let with_headers = || batch.iter().filter(|_| fields.headers);
        let counts: Vec<u32> = with_headers().map(|record| record.headers.len() as u32).collect();
        let headers = || with_headers().flat_map(|record| record.headers);
        let header_keys = column(headers().map(|(key, _)| Some(*key)));
        let header_values = column(headers().map(|(_, value)| *value));
        let columns = Columns {
            count: batch.len() as u32,
            keys: view(&keys),
            values: view(&values),
            timestamps_ms: &timestamps,
            header_counts: &counts,
            header_keys: view(&header_keys),
            header_values: view(&header_values),
        };
        let answer = records::place(&mut self.plugin, &self.partitions, client, columns);
        Outcome::of(answer, batch.len(), client)
    }
}

fn topic() -> Topic {
    Topic { name: "test".into(), ..Topic::default() }
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
