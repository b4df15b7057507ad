//! The kinds `partition-keys` and `partition-records`: their types, and typed calls of one instance's exports. The
//! partitioner calls these through its instances and has `calls` judge what comes back.

use wasmtime::Store;
use wasmtime::component::{ComponentType, Func, Instance, Lift, Lower};

use super::{Exports, Interface, RawColumn, RawFields, RawRecords, RawTopic, call, fields_of, records_of};
use crate::columns::View;
use crate::guest::Guest;
use crate::inspection::Inspection;
use crate::topic::{Fields, Kind, Partitions, Topic};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawPartitions<'a> {
    #[component(name = "loads-bytes")]
    loads_bytes: &'a [u64],
    unwritable: &'a [u32],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RawRejection {
    #[component(name = "record-index")]
    pub record_index: u32,
    pub reason: String,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum RawFailure {
    #[component(name = "rejected")]
    Rejected(Vec<RawRejection>),
    #[component(name = "failed")]
    Failed(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum RawPlacement {
    #[component(name = "stay")]
    Stay,
    #[component(name = "all")]
    All(u32),
    #[component(name = "each")]
    Each(Vec<u32>),
}

pub(crate) type Answer = Result<RawPlacement, RawFailure>;
type ConfigureArgs<'a> = (RawTopic<'a>, RawPartitions<'a>, &'a str);
type ObserveArgs<'a> = (RawPartitions<'a>,);
type KeysArgs<'a> = (u32, RawColumn<'a>);
type RecordsArgs<'a> = (u32, RawRecords<'a>);

impl<'a> From<&'a Partitions> for RawPartitions<'a> {
    fn from(partitions: &'a Partitions) -> RawPartitions<'a> {
        RawPartitions { loads_bytes: &partitions.loads_bytes, unwritable: &partitions.unwritable }
    }
}

/// The exports of a partitioner.
#[derive(Clone, Copy)]
pub(crate) struct PartitionExports {
    kind: Kind,
    configure: Func,
    observe: Func,
    partition: Func,
}

impl Exports for PartitionExports {
    fn bind(
        store: &mut Store<Guest>,
        instance: &Instance,
        inspection: &Inspection,
    ) -> Result<PartitionExports, String> {
        let (kind, name) = inspection.partitioner().ok_or("the component is no partitioner")?;
        let mut interface = Interface { store, instance, name };
        let (configure, partition) = if kind == Kind::Keys {
            let configure =
                interface.function::<ConfigureArgs<'static>, (Result<(), String>,)>("configure")?;
            (configure, interface.function::<KeysArgs<'static>, (Answer,)>("partition")?)
        } else {
            let configure =
                interface.function::<ConfigureArgs<'static>, (Result<RawFields, String>,)>("configure")?;
            (configure, interface.function::<RecordsArgs<'static>, (Answer,)>("partition")?)
        };
        let observe = interface.function::<ObserveArgs<'static>, ()>("observe")?;
        Ok(PartitionExports { kind, configure, observe, partition })
    }

    fn configure(
        &self,
        store: &mut Store<Guest>,
        topic: &Topic,
        partitions: &Partitions,
        config: &str,
    ) -> wasmtime::Result<Result<Fields, String>> {
        let args = (RawTopic::from(topic), partitions.into(), config);
        if self.kind == Kind::Keys {
            // SAFETY: `bind` checked these types.
            let (answer,) =
                unsafe { call::<ConfigureArgs<'_>, (Result<(), String>,)>(store, self.configure, args)? };
            return Ok(answer.map(|()| Fields::KEYS));
        }
        // SAFETY: `bind` checked these types.
        let (answer,) =
            unsafe { call::<ConfigureArgs<'_>, (Result<RawFields, String>,)>(store, self.configure, args)? };
        Ok(answer.map(fields_of))
    }
}

impl PartitionExports {
    pub(crate) fn observe(&self, store: &mut Store<Guest>, partitions: &Partitions) -> wasmtime::Result<()> {
        // SAFETY: `bind` checked these types.
        unsafe { call::<ObserveArgs<'_>, ()>(store, self.observe, (partitions.into(),)) }
    }

    #[inline]
    pub(crate) fn partition(
        &self,
        store: &mut Store<Guest>,
        client: u32,
        view: &View<'_>,
    ) -> wasmtime::Result<Answer> {
        let (answer,) = if self.kind == Kind::Keys {
            // SAFETY: `bind` checked these types.
            unsafe { call::<KeysArgs<'_>, (Answer,)>(store, self.partition, (client, view.keys.into()))? }
        } else {
            // SAFETY: `bind` checked these types.
            unsafe { call::<RecordsArgs<'_>, (Answer,)>(store, self.partition, (client, records_of(view)))? }
        };
        Ok(answer)
    }
}
