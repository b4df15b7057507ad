//! The contract `ottla:plugin@0.1` on the host's side: its types as wasmtime lowers and lifts them, the one import,
//! and typed calls of the exports. `instance` calls these; a later contract version gets a module beside this one.
//!
//! Invariant: types here say what `wit/0.1` says, and a component whose functions have other types is not bound.
//! Answers are lifted into owned values: wasmtime runs the guest's post-return before a call returns, so a borrowed
//! list would be read after it was freed.

use wasmtime::component::{
    ComponentNamedList, ComponentType, Func, Instance, Lift, Linker, Lower, TypedFunc, WasmStr, flags,
};
use wasmtime::{Engine, Store, StoreContextMut};

use crate::columns::{Slice, View};
use crate::guest::Guest;
use crate::log::Level;
use crate::topic::{Fields, Kind, Partitions, Topic};

const LOG: &str = "ottla:plugin/log@0.1.0";

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "lifted from the guest, never built here")]
enum RawLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawColumn<'a> {
    lengths: &'a [i32],
    bytes: &'a [u8],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawHeaders<'a> {
    counts: &'a [u32],
    keys: RawColumn<'a>,
    values: RawColumn<'a>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawRecords<'a> {
    count: u32,
    #[component(name = "timestamps-ms")]
    timestamps_ms: Option<&'a [i64]>,
    keys: Option<RawColumn<'a>>,
    values: Option<RawColumn<'a>>,
    headers: Option<RawHeaders<'a>>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawTopic<'a> {
    name: &'a str,
    tenant: &'a str,
    properties: &'a [(String, String)],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct RawPartitions<'a> {
    #[component(name = "loads-bytes")]
    loads_bytes: &'a [u64],
    unwritable: &'a [u32],
}

flags! {
    RawFields {
        #[component(name = "keys")]
        const KEYS;
        #[component(name = "values")]
        const VALUES;
        #[component(name = "headers")]
        const HEADERS;
        #[component(name = "timestamps")]
        const TIMESTAMPS;
    }
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

impl From<RawLevel> for Level {
    fn from(level: RawLevel) -> Level {
        match level {
            RawLevel::Debug => Level::Debug,
            RawLevel::Info => Level::Info,
            RawLevel::Warn => Level::Warn,
            RawLevel::Error => Level::Error,
        }
    }
}

impl<'a> From<Slice<'a>> for RawColumn<'a> {
    fn from(slice: Slice<'a>) -> RawColumn<'a> {
        RawColumn { lengths: slice.lengths, bytes: slice.bytes }
    }
}

impl<'a> From<&'a Partitions> for RawPartitions<'a> {
    fn from(partitions: &'a Partitions) -> RawPartitions<'a> {
        RawPartitions { loads_bytes: &partitions.loads_bytes, unwritable: &partitions.unwritable }
    }
}

fn fields_of(raw: RawFields) -> Fields {
    [
        (RawFields::KEYS, Fields::KEYS),
        (RawFields::VALUES, Fields::VALUES),
        (RawFields::HEADERS, Fields::HEADERS),
        (RawFields::TIMESTAMPS, Fields::TIMESTAMPS),
    ]
    .into_iter()
    .filter(|(theirs, _)| raw.contains(*theirs))
    .fold(Fields::NONE, |all, (_, ours)| all | ours)
}

/// What a component may import: `log`, and `types`, which has no functions and so needs no definition.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(LOG)?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, (level, message): (RawLevel, WasmStr)| {
            let message = message.to_str(&store)?.into_owned();
            store.data_mut().log(level.into(), message);
            Ok(())
        },
    )?;
    Ok(linker)
}

/// The exports of one instance, their types checked.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    kind: Kind,
    configure: Func,
    observe: Func,
    partition: Func,
}

impl Exports {
    /// # Errors
    /// A function is missing or has other types than the contract says.
    pub(crate) fn bind(
        store: &mut Store<Guest>,
        instance: &Instance,
        kind: Kind,
        interface: &str,
    ) -> Result<Exports, String> {
        let index = instance
            .get_export_index(&mut *store, None, interface)
            .ok_or_else(|| format!("the export {interface} is not an interface"))?;
        let mut function = |name: &str| {
            instance
                .get_export_index(&mut *store, Some(&index), name)
                .and_then(|index| instance.get_func(&mut *store, index))
                .ok_or_else(|| format!("the interface {interface} has no function {name}"))
        };
        let (configure, observe, partition) =
            (function("configure")?, function("observe")?, function("partition")?);
        let wrong = |name: &str, error: wasmtime::Error| {
            format!("the function {name} of {interface} has other types than the contract says: {error:#}")
        };
        match kind {
            Kind::Keys => {
                check::<ConfigureArgs<'static>, (Result<(), String>,)>(store, configure)
                    .map_err(|error| wrong("configure", error))?;
                check::<KeysArgs<'static>, (Answer,)>(store, partition)
            }
            Kind::Records => {
                check::<ConfigureArgs<'static>, (Result<RawFields, String>,)>(store, configure)
                    .map_err(|error| wrong("configure", error))?;
                check::<RecordsArgs<'static>, (Answer,)>(store, partition)
            }
        }
        .map_err(|error| wrong("partition", error))?;
        check::<ObserveArgs<'static>, ()>(store, observe).map_err(|error| wrong("observe", error))?;
        Ok(Exports { kind, configure, observe, partition })
    }

    /// The fields that the plugin reads, or its own words against the config.
    pub(crate) fn configure(
        &self,
        store: &mut Store<Guest>,
        topic: &Topic,
        partitions: &Partitions,
        config: &str,
    ) -> wasmtime::Result<Result<Fields, String>> {
        let raw = RawTopic { name: &topic.name, tenant: &topic.tenant, properties: &topic.properties };
        let args = (raw, partitions.into(), config);
        match self.kind {
            Kind::Keys => {
                // SAFETY: `bind` checked these types.
                let (answer,) =
                    unsafe { call::<ConfigureArgs<'_>, (Result<(), String>,)>(store, self.configure, args)? };
                Ok(answer.map(|()| Fields::KEYS))
            }
            Kind::Records => {
                // SAFETY: `bind` checked these types.
                let (answer,) = unsafe {
                    call::<ConfigureArgs<'_>, (Result<RawFields, String>,)>(store, self.configure, args)?
                };
                Ok(answer.map(fields_of))
            }
        }
    }

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
        let (answer,) = match self.kind {
            // SAFETY: `bind` checked these types.
            Kind::Keys => unsafe {
                call::<KeysArgs<'_>, (Answer,)>(store, self.partition, (client, view.keys.into()))?
            },
            // SAFETY: `bind` checked these types.
            Kind::Records => unsafe {
                call::<RecordsArgs<'_>, (Answer,)>(store, self.partition, (client, records_of(view)))?
            },
        };
        Ok(answer)
    }
}

fn records_of<'a>(view: &View<'a>) -> RawRecords<'a> {
    let has = |field| view.fields.contains(field);
    RawRecords {
        count: view.count,
        timestamps_ms: has(Fields::TIMESTAMPS).then_some(view.timestamps_ms),
        keys: has(Fields::KEYS).then(|| view.keys.into()),
        values: has(Fields::VALUES).then(|| view.values.into()),
        headers: has(Fields::HEADERS).then(|| RawHeaders {
            counts: view.header_counts,
            keys: view.header_keys.into(),
            values: view.header_values.into(),
        }),
    }
}

fn check<Args, Out>(store: &Store<Guest>, function: Func) -> wasmtime::Result<()>
where
    Args: ComponentNamedList + Lower,
    Out: ComponentNamedList + Lift,
{
    function.typed::<Args, Out>(store).map(|_| ())
}

/// # Safety
/// The function must have these types.
unsafe fn call<Args, Out>(store: &mut Store<Guest>, function: Func, args: Args) -> wasmtime::Result<Out>
where
    Args: ComponentNamedList + Lower,
    Out: ComponentNamedList + Lift,
{
    // SAFETY: as the caller promises.
    let function = unsafe { TypedFunc::<Args, Out>::new_unchecked(function) };
    function.call(store, args)
}
