//! What the suites share: components from WAT text, the shipped components, a host that compiles in this process, and
//! a sink that keeps lines.
#![allow(dead_code, reason = "each suite uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_plugin_host::{
    AttachError, Columns, Compiler, Host, HostConfig, Identity, Level, Limits, LogSink, Partitioner,
    Partitions, Topic, digest_of,
};
use parking_lot::Mutex;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Keeps every line that plugins log.
#[derive(Default)]
pub struct Lines(pub Mutex<Vec<(Level, String)>>);

impl LogSink for Lines {
    fn write(&self, _: &Identity, _: &str, level: Level, message: &str) {
        self.0.lock().push((level, message.to_owned()));
    }
}

pub fn limits() -> Limits {
    Limits { batch_time_ms: 50, memory_bytes: 16 << 20, ..Limits::default() }
}

pub fn host() -> Host {
    host_with(limits())
}

pub fn host_with(limits: Limits) -> Host {
    Host::new(HostConfig { compiler: Compiler::InProcess, cache_dir: None, limits })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A committed component of `plugins/dist`.
pub fn shipped(name: &str) -> Vec<u8> {
    std::fs::read(root().join("plugins/dist").join(format!("{name}.wasm"))).unwrap()
}

/// A component of the world `key-partitioner` around a core module.
pub fn component_of(core: &str) -> Vec<u8> {
    component_in("key-partitioner", core)
}

/// A component of a world of the contract around a core module.
pub fn component_in(world: &str, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit/0.1")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// A key partitioner whose functions have these bodies. `configure` and `partition` return a pointer to their result;
/// `$ok` is one that holds success and `stay`, `$results` is free space. `$count` is the number of keys.
pub fn core(configure: &str, partition: &str, more: &str) -> String {
    format!(
        r#"(module
  (import "ottla:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 16)
  (global $top (mut i32) (i32.const 65536))
  (global $ok i32 (i32.const 1024))
  (global $results i32 (i32.const 2048))
  (data (i32.const 512) "something went wrong")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "ottla:plugin/partition-keys@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $config i32) (param $config_size i32) (result i32)
    {configure})
  (func (export "cabi_post_ottla:plugin/partition-keys@0.1.0#configure") (param i32)
    (global.set $top (i32.const 65536)))
  (func (export "ottla:plugin/partition-keys@0.1.0#observe") (param i32 i32 i32 i32)
    (global.set $top (i32.const 65536)))
  (func (export "ottla:plugin/partition-keys@0.1.0#partition")
    (param $client i32) (param $lengths i32) (param $count i32) (param $bytes i32) (param $size i32) (result i32)
    {partition})
  (func (export "cabi_post_ottla:plugin/partition-keys@0.1.0#partition") (param i32)
    (global.set $top (i32.const 65536)))
  {more}
)"#
    )
}

/// Behaves for every batch but those of three records, which no warm-up has.
pub fn behaves_unless_three(hostile: &str, more: &str) -> Vec<u8> {
    let partition = format!(
        "(if (result i32) (i32.eq (local.get $count) (i32.const 3)) (then {hostile}) (else (global.get $ok)))"
    );
    component_of(&core("(global.get $ok)", &partition, more))
}

pub fn identity(component: &[u8]) -> Identity {
    Identity { name: "test".into(), version: "1.2.3".into(), digest: digest_of(component) }
}

pub fn topic(partitions: u32) -> Topic {
    Topic { name: "orders".into(), partitions: Partitions::idle(partitions), ..Topic::default() }
}

pub fn attach_to(
    host: &Host,
    component: &[u8],
    topic: Topic,
    config: &str,
    sink: Arc<dyn LogSink>,
) -> Result<Partitioner, AttachError> {
    let compiled = host.compile(component).unwrap();
    host.attach(&compiled, identity(component), topic, config, sink)
}

pub fn attach(host: &Host, component: &[u8]) -> Partitioner {
    attach_to(host, component, topic(4), "{}", Arc::new(Lines::default())).unwrap()
}

pub fn keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = Option<K>>) -> Columns {
    let mut columns = Columns::new();
    for key in keys {
        columns.push_key(key.as_ref().map(AsRef::as_ref));
    }
    columns
}

/// A batch of `count` null keys.
pub fn nulls(count: usize) -> Columns {
    keys(std::iter::repeat_n(None::<&[u8]>, count))
}
