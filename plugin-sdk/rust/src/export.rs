//! The WebAssembly side: between the generated bindings and an author's type. The export macros make one static slot
//! per plugin and forward the contract's functions to it.

use std::cell::RefCell;
use std::sync::Once;

use crate::answer::Answer;
use crate::bindings;
use crate::bindings::keys::exports::ottla::plugin::partition_keys as k;
use crate::bindings::records::exports::ottla::plugin::partition_records as r;
use crate::records::{Column, Columns};
use crate::retention::{self, Judged};
use crate::{
    Fields, KeyPartitioner, Partitions, Progress, RecordPartitioner, RetainRecords, RetainSegments,
    Retention, Segment, SegmentVerdict, Topic, Usage, config, keys, records,
};

/// Makes a panic's message the plugin's last error line, which the broker quotes.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
    });
}

const UNCONFIGURED: &str = "called before configure";

/// Holds the one instance of a key partitioner.
pub struct KeysSlot<P>(RefCell<Option<(P, Partitions)>>);

impl<P: KeyPartitioner> KeysSlot<P> {
    pub const fn new() -> Self {
        KeysSlot(RefCell::new(None))
    }

    pub fn configure(&self, topic: k::Topic, partitions: k::Partitions, json: &str) -> Result<(), String> {
        report_panics();
        let topic = Topic { name: topic.name, tenant: topic.tenant, properties: topic.properties };
        let partitions = self.partitions(partitions);
        let plugin = P::configure(config::parse(json)?, &topic, &partitions)?;
        *self.0.borrow_mut() = Some((plugin, partitions));
        Ok(())
    }

    pub fn observe(&self, partitions: k::Partitions) {
        let mut slot = self.0.borrow_mut();
        let (plugin, held) = slot.as_mut().expect(UNCONFIGURED);
        *held = self.partitions(partitions);
        plugin.observe(held);
    }

    pub fn partition(&self, client: u32, batch: k::Column) -> Result<k::Placement, k::Failure> {
        let mut slot = self.0.borrow_mut();
        let (plugin, partitions) = slot.as_mut().expect(UNCONFIGURED);
        match keys::place(plugin, partitions, client, &batch.lengths, &batch.bytes) {
            Answer::Stay => Ok(k::Placement::Stay),
            Answer::All(partition) => Ok(k::Placement::All(partition)),
            Answer::Each(each) => Ok(k::Placement::Each(each)),
            Answer::Failed(reason) => Err(k::Failure::Failed(reason)),
            Answer::Rejected(list) => Err(k::Failure::Rejected(
                list.into_iter()
                    .map(|(record_index, reason)| bindings::keys::ottla::plugin::types::Rejection {
                        record_index,
                        reason,
                    })
                    .collect(),
            )),
        }
    }

    fn partitions(&self, raw: k::Partitions) -> Partitions {
        Partitions { loads_bytes: raw.loads_bytes, unwritable: raw.unwritable }
    }
}

/// Holds the one instance of a record partitioner.
pub struct RecordsSlot<P>(RefCell<Option<(P, Partitions)>>);

impl<P: RecordPartitioner> RecordsSlot<P> {
    pub const fn new() -> Self {
        RecordsSlot(RefCell::new(None))
    }

    pub fn configure(
        &self,
        topic: r::Topic,
        partitions: r::Partitions,
        json: &str,
    ) -> Result<r::Fields, String> {
        report_panics();
        let topic = Topic { name: topic.name, tenant: topic.tenant, properties: topic.properties };
        let partitions = self.partitions(partitions);
        let plugin = P::configure(config::parse(json)?, &topic, &partitions)?;
        let wanted = plugin.fields();
        *self.0.borrow_mut() = Some((plugin, partitions));
        let mut fields = r::Fields::empty();
        fields.set(r::Fields::KEYS, wanted.keys);
        fields.set(r::Fields::VALUES, wanted.values);
        fields.set(r::Fields::HEADERS, wanted.headers);
        fields.set(r::Fields::TIMESTAMPS, wanted.timestamps);
        Ok(fields)
    }

    pub fn observe(&self, partitions: r::Partitions) {
        let mut slot = self.0.borrow_mut();
        let (plugin, held) = slot.as_mut().expect(UNCONFIGURED);
        *held = self.partitions(partitions);
        plugin.observe(held);
    }

    pub fn partition(&self, client: u32, batch: r::Records) -> Result<r::Placement, r::Failure> {
        let mut slot = self.0.borrow_mut();
        let (plugin, partitions) = slot.as_mut().expect(UNCONFIGURED);
        let headers = batch.headers.as_ref();
        let columns = Columns {
            count: batch.count,
            keys: column(batch.keys.as_ref()),
            values: column(batch.values.as_ref()),
            timestamps_ms: batch.timestamps_ms.as_deref().unwrap_or_default(),
            header_counts: headers.map(|headers| headers.counts.as_slice()).unwrap_or_default(),
            header_keys: column(headers.map(|headers| &headers.keys)),
            header_values: column(headers.map(|headers| &headers.values)),
        };
        match records::place(plugin, partitions, client, columns) {
            Answer::Stay => Ok(r::Placement::Stay),
            Answer::All(partition) => Ok(r::Placement::All(partition)),
            Answer::Each(each) => Ok(r::Placement::Each(each)),
            Answer::Failed(reason) => Err(r::Failure::Failed(reason)),
            Answer::Rejected(list) => Err(r::Failure::Rejected(
                list.into_iter()
                    .map(|(record_index, reason)| bindings::records::ottla::plugin::types::Rejection {
                        record_index,
                        reason,
                    })
                    .collect(),
            )),
        }
    }

    fn partitions(&self, raw: r::Partitions) -> Partitions {
        Partitions { loads_bytes: raw.loads_bytes, unwritable: raw.unwritable }
    }
}

fn column(raw: Option<&bindings::records::ottla::plugin::types::Column>) -> Column<'_> {
    raw.map(|raw| Column { lengths: &raw.lengths, bytes: &raw.bytes }).unwrap_or_default()
}

/// Holds the one instance of a retention policy. A component with both interfaces is configured through each of them,
/// with the same topic and config; the later one stays.
pub struct RetentionSlot<P>(RefCell<Option<P>>);

impl<P: Retention> RetentionSlot<P> {
    pub const fn new() -> Self {
        RetentionSlot(RefCell::new(None))
    }

    pub fn configure(&self, topic: Topic, json: &str) -> Result<(), String> {
        report_panics();
        *self.0.borrow_mut() = Some(P::configure(config::parse(json)?, &topic)?);
        Ok(())
    }

    fn with<T>(&self, call: impl FnOnce(&mut P) -> T) -> T {
        call(self.0.borrow_mut().as_mut().expect(UNCONFIGURED))
    }
}

impl<P: RetainRecords> RetentionSlot<P> {
    pub fn configure_records(&self, topic: Topic, json: &str) -> Result<Fields, String> {
        self.configure(topic, json)?;
        Ok(self.with(|plugin| plugin.fields()))
    }

    pub fn judge_records(&self, columns: Columns<'_>, now_ms: i64) -> Result<Judged, String> {
        self.with(|plugin| retention::judge_records(plugin, columns, now_ms))
    }
}

impl<P: RetainSegments> RetentionSlot<P> {
    pub fn judge_segments(
        &self,
        usage: Usage,
        segments: &[Segment],
        groups: &[Progress],
        now_ms: i64,
    ) -> Result<Vec<SegmentVerdict>, String> {
        self.with(|plugin| retention::judge_segments(plugin, usage, segments, groups, now_ms))
    }
}
