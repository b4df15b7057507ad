//! The contract `ottla:plugin@0.1` on the host's side: the types that several kinds share as wasmtime lowers and lifts
//! them, the one import, and how functions are found and called. A file per kind has its exports; `instance` calls
//! those. A later contract version gets a module beside this one.
//!
//! Invariant: types here say what `wit/0.1` says, and a component whose functions have other types is not bound.
//! Answers are lifted into owned values: wasmtime runs the guest's post-return before a call returns, so a borrowed
//! list would be read after it was freed.

mod partition;
mod retain;

use wasmtime::component::{
    ComponentNamedList, ComponentType, Func, Instance, Lift, Linker, Lower, TypedFunc, WasmStr, flags,
};
use wasmtime::{Engine, Store, StoreContextMut};

use crate::columns::{Slice, View};
use crate::guest::Guest;
use crate::inspection::Inspection;
use crate::log::Level;
use crate::topic::{Fields, Partitions, Topic};

pub(crate) use partition::{Answer, PartitionExports, RawFailure, RawPlacement, RawRejection};
pub(crate) use retain::{RawJudgement, RawSegmentVerdict, RawVerdict, RawVerdicts, RetentionExports};

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

impl<'a> From<&'a Topic> for RawTopic<'a> {
    fn from(topic: &'a Topic) -> RawTopic<'a> {
        RawTopic { name: &topic.name, tenant: &topic.tenant, properties: &topic.properties }
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

/// What makes a component one sort of plugin: the functions of its exports, their types checked.
pub(crate) trait Exports: Copy + Send + Sync + Sized + 'static {
    /// # Errors
    /// A function is missing or has other types than the contract says.
    fn bind(store: &mut Store<Guest>, instance: &Instance, inspection: &Inspection) -> Result<Self, String>;

    /// The fields that the plugin reads, or its own words against the config.
    fn configure(
        &self,
        store: &mut Store<Guest>,
        topic: &Topic,
        partitions: &Partitions,
        config: &str,
    ) -> wasmtime::Result<Result<Fields, String>>;
}

/// One exported interface of an instance.
struct Interface<'a> {
    store: &'a mut Store<Guest>,
    instance: &'a Instance,
    name: &'a str,
}

impl Interface<'_> {
    /// Finds a function and checks its types.
    fn function<Args, Out>(&mut self, name: &str) -> Result<Func, String>
    where
        Args: ComponentNamedList + Lower,
        Out: ComponentNamedList + Lift,
    {
        let interface = self.name;
        let index = self
            .instance
            .get_export_index(&mut *self.store, None, interface)
            .ok_or_else(|| format!("the export {interface} is not an interface"))?;
        let function = self
            .instance
            .get_export_index(&mut *self.store, Some(&index), name)
            .and_then(|index| self.instance.get_func(&mut *self.store, index))
            .ok_or_else(|| format!("the interface {interface} has no function {name}"))?;
        function.typed::<Args, Out>(&*self.store).map_err(|error| {
            format!("the function {name} of {interface} has other types than the contract says: {error:#}")
        })?;
        Ok(function)
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
