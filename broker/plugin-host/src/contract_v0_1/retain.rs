//! The kinds `retain-segments` and `retain-records`: their types, and typed calls of one instance's exports. A
//! component has one of them or both. `retention` calls these through its instances and has `verdicts` judge what comes
//! back.

use wasmtime::Store;
use wasmtime::component::{ComponentType, Func, Instance, Lift, Lower};

use super::{Exports, Interface, RawFields, RawRecords, RawTopic, call, fields_of, records_of};
use crate::columns::View;
use crate::guest::Guest;
use crate::inspection::Inspection;
use crate::judgement::{Progress, SegmentView, Usage};
use crate::topic::{Fields, Kind, Partitions, Topic};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawSegment {
    #[component(name = "base-offset")]
    base_offset: i64,
    #[component(name = "next-offset")]
    next_offset: i64,
    records: u64,
    bytes: u64,
    #[component(name = "first-timestamp-ms")]
    first_timestamp_ms: i64,
    #[component(name = "max-timestamp-ms")]
    max_timestamp_ms: i64,
    active: bool,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawProgress<'a> {
    group: &'a str,
    #[component(name = "committed-offset")]
    committed_offset: Option<i64>,
    #[component(name = "committed-ms")]
    committed_ms: i64,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawUsage {
    partition: u32,
    #[component(name = "partition-bytes")]
    partition_bytes: u64,
    #[component(name = "topic-bytes")]
    topic_bytes: u64,
    #[component(name = "tenant-bytes")]
    tenant_bytes: u64,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, built here in tests alone")]
pub(crate) enum RawSegmentVerdict {
    #[component(name = "keep")]
    Keep,
    #[component(name = "delete")]
    Delete,
    #[component(name = "ask")]
    Ask,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug, PartialEq, Eq)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, built here in tests alone")]
pub(crate) enum RawVerdict {
    #[component(name = "keep")]
    Keep,
    #[component(name = "erase")]
    Erase,
    #[component(name = "tombstone")]
    Tombstone,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
#[allow(dead_code, reason = "lifted from the guest, built here in tests alone")]
pub(crate) enum RawVerdicts {
    #[component(name = "all")]
    All(RawVerdict),
    #[component(name = "each")]
    Each(Vec<u8>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RawJudgement {
    pub verdicts: RawVerdicts,
    #[component(name = "again-ms")]
    pub again_ms: Option<i64>,
}

type ConfigureArgs<'a> = (RawTopic<'a>, &'a str);
type SegmentsArgs<'a> = (RawUsage, &'a [RawSegment], &'a [RawProgress<'a>], i64);
type SegmentsAnswer = Result<Vec<RawSegmentVerdict>, String>;
type RecordsArgs<'a> = (RawRecords<'a>, i64);
type RecordsAnswer = Result<RawJudgement, String>;

/// The exports of a retention policy: one of them at least.
#[derive(Clone, Copy)]
pub(crate) struct RetentionExports {
    segments: Option<Functions>,
    records: Option<Functions>,
}

#[derive(Clone, Copy)]
struct Functions {
    configure: Func,
    judge: Func,
}

impl Exports for RetentionExports {
    fn bind(
        store: &mut Store<Guest>,
        instance: &Instance,
        inspection: &Inspection,
    ) -> Result<RetentionExports, String> {
        let mut exports = RetentionExports { segments: None, records: None };
        if let Some(name) = inspection.interface(Kind::RetainSegments) {
            let mut interface = Interface { store, instance, name };
            let configure =
                interface.function::<ConfigureArgs<'static>, (Result<(), String>,)>("configure")?;
            let judge = interface.function::<SegmentsArgs<'static>, (SegmentsAnswer,)>("judge")?;
            exports.segments = Some(Functions { configure, judge });
        }
        if let Some(name) = inspection.interface(Kind::RetainRecords) {
            let mut interface = Interface { store, instance, name };
            let configure =
                interface.function::<ConfigureArgs<'static>, (Result<RawFields, String>,)>("configure")?;
            let judge = interface.function::<RecordsArgs<'static>, (RecordsAnswer,)>("judge")?;
            exports.records = Some(Functions { configure, judge });
        }
        match exports {
            RetentionExports { segments: None, records: None } => {
                Err("the component is no retention policy".into())
            }
            exports => Ok(exports),
        }
    }

    fn configure(
        &self,
        store: &mut Store<Guest>,
        topic: &Topic,
        _: &Partitions,
        config: &str,
    ) -> wasmtime::Result<Result<Fields, String>> {
        let args = || (RawTopic::from(topic), config);
        if let Some(Functions { configure, .. }) = self.segments {
            // SAFETY: `bind` checked these types.
            let (answer,) =
                unsafe { call::<ConfigureArgs<'_>, (Result<(), String>,)>(store, configure, args())? };
            if let Err(reason) = answer {
                return Ok(Err(reason));
            }
        }
        let Some(Functions { configure, .. }) = self.records else { return Ok(Ok(Fields::NONE)) };
        // SAFETY: `bind` checked these types.
        let (answer,) =
            unsafe { call::<ConfigureArgs<'_>, (Result<RawFields, String>,)>(store, configure, args())? };
        Ok(answer.map(fields_of))
    }
}

impl RetentionExports {
    /// None where the component has no `retain-segments`.
    pub(crate) fn judge_segments(
        &self,
        store: &mut Store<Guest>,
        usage: &Usage,
        segments: &[SegmentView],
        groups: &[Progress],
        now_ms: i64,
    ) -> wasmtime::Result<Option<SegmentsAnswer>> {
        let Some(Functions { judge, .. }) = self.segments else { return Ok(None) };
        let segments: Vec<RawSegment> = segments.iter().map(RawSegment::from).collect();
        let groups: Vec<RawProgress<'_>> = groups.iter().map(RawProgress::from).collect();
        let args = (RawUsage::from(usage), segments.as_slice(), groups.as_slice(), now_ms);
        // SAFETY: `bind` checked these types.
        let (answer,) = unsafe { call::<SegmentsArgs<'_>, (SegmentsAnswer,)>(store, judge, args)? };
        Ok(Some(answer))
    }

    /// None where the component has no `retain-records`.
    pub(crate) fn judge_records(
        &self,
        store: &mut Store<Guest>,
        view: &View<'_>,
        now_ms: i64,
    ) -> wasmtime::Result<Option<RecordsAnswer>> {
        let Some(Functions { judge, .. }) = self.records else { return Ok(None) };
        let args = (records_of(view), now_ms);
        // SAFETY: `bind` checked these types.
        let (answer,) = unsafe { call::<RecordsArgs<'_>, (RecordsAnswer,)>(store, judge, args)? };
        Ok(Some(answer))
    }
}

impl From<&SegmentView> for RawSegment {
    fn from(segment: &SegmentView) -> RawSegment {
        RawSegment {
            base_offset: segment.base_offset,
            next_offset: segment.next_offset,
            records: segment.records,
            bytes: segment.bytes,
            first_timestamp_ms: segment.first_timestamp_ms,
            max_timestamp_ms: segment.max_timestamp_ms,
            active: segment.active,
        }
    }
}

impl<'a> From<&'a Progress> for RawProgress<'a> {
    fn from(progress: &'a Progress) -> RawProgress<'a> {
        RawProgress {
            group: &progress.group,
            committed_offset: progress.committed_offset,
            committed_ms: progress.committed_ms,
        }
    }
}

impl From<&Usage> for RawUsage {
    fn from(usage: &Usage) -> RawUsage {
        RawUsage {
            partition: usage.partition,
            partition_bytes: usage.partition_bytes,
            topic_bytes: usage.topic_bytes,
            tenant_bytes: usage.tenant_bytes,
        }
    }
}
