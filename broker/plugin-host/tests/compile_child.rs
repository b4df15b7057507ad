//! Compiling in a child process: the result is the same as here, and no component holds the compiler for longer or
//! with more memory than allowed. This binary runs itself as that child, so it has a main of its own.

mod support;

use std::ffi::OsString;
use std::path::PathBuf;

use ottla_plugin_host::{Compiler, Host, HostConfig, Limits, Placement, PluginError, compile_child_main};
use support::*;

const CHILD: &str = "run-as-compiling-child";

fn main() {
    if std::env::args().any(|arg| arg == CHILD) {
        std::process::exit(compile_child_main());
    }
    let tests: [(&str, fn()); 7] = [
        ("a_child_compiles", a_child_compiles),
        ("machine_code_is_found_again", machine_code_is_found_again),
        ("a_slow_compilation_is_ended", a_slow_compilation_is_ended),
        ("a_hungry_compilation_is_ended", a_hungry_compilation_is_ended),
        ("an_invalid_component_is_the_components_fault", an_invalid_component_is_the_components_fault),
        ("a_missing_compiler_is_named", a_missing_compiler_is_named),
        ("a_child_that_is_no_compiler_is_ended", a_child_that_is_no_compiler_is_ended),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, test) in tests {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            println!("test {name} ...");
            test();
        }
    }
}

fn child() -> Compiler {
    Compiler::Child { program: std::env::current_exe().unwrap(), args: vec![CHILD.into()] }
}

fn host_of(compiler: Compiler, cache_dir: Option<PathBuf>, limits: Limits) -> Host {
    Host::new(HostConfig { compiler, cache_dir, limits })
}

fn a_child_compiles() {
    let host = host_of(child(), None, limits());
    let plugin = attach(&host, &shipped("round_robin"));
    assert_eq!(plugin.partition(0, &nulls(3)), Ok(Placement::Each(vec![0, 1, 2])));
}

fn machine_code_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("code");
    let component = shipped("key_hash");
    host_of(child(), Some(cache.clone()), limits()).compile(&component).unwrap();
    // This one could not compile.
    let nothing = Compiler::Child { program: "/nonexistent/compiler".into(), args: Vec::new() };
    let host = host_of(nothing.clone(), Some(cache.clone()), limits());
    let plugin = attach(&host, &component);
    assert_eq!(plugin.partition(3, &nulls(3)), Ok(Placement::Stay));
    assert!(host.compile(&shipped("sticky")).is_err());

    // A file that was touched is compiled anew.
    let file = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(host_of(nothing, Some(cache.clone()), limits()).compile(&component).is_err());
    host_of(child(), Some(cache), limits()).compile(&component).unwrap();
}

/// One function with very many blocks and locals: small as a file, and long to compile.
fn slow_component() -> Vec<u8> {
    let locals = "(local i64 i64 i64 i64 i64 i64 i64 i64)";
    let step = "(if (i64.lt_u (local.get 1) (local.get 2)) (then (local.set 1 (i64.add (local.get 2) \
                (i64.mul (local.get 3) (local.get 4)))) (local.set 3 (i64.xor (local.get 5) (local.get 6)))) \
                (else (local.set 2 (i64.rotl (local.get 7) (local.get 8))) (local.set 6 (local.get 1))))";
    let more = format!("(func (param i64) (result i64) {locals} {} (local.get 1))", step.repeat(20_000));
    component_of(&core("(global.get $ok)", "(global.get $ok)", &more))
}

fn a_slow_compilation_is_ended() {
    let host = host_of(child(), None, Limits { compile_time_ms: 200, ..limits() });
    let error = host.compile(&slow_component()).unwrap_err();
    assert!(matches!(error, PluginError::CompileTime { limit_ms: 200 }), "{error}");
    assert!(error.to_string().contains("ottla.plugin.compile.time.ms"));
}

fn a_hungry_compilation_is_ended() {
    let limits = Limits { compile_memory_bytes: 192 << 20, compile_time_ms: 600_000, ..limits() };
    let host = host_of(child(), None, limits);
    let error = host.compile(&slow_component()).unwrap_err();
    assert!(matches!(error, PluginError::CompileMemory { .. }), "{error}");
    assert!(error.to_string().contains("ottla.plugin.compile.memory.bytes"));
}

fn an_invalid_component_is_the_components_fault() {
    let bytes = wat::parse_str(
        r#"(component (instance $i) (export "ottla:plugin/partition-keys@0.1.0" (instance $i))
             (core module (func (result i32) (local.get 0))))"#,
    )
    .unwrap();
    let error = host_of(child(), None, limits()).compile(&bytes).unwrap_err();
    assert!(matches!(&error, PluginError::Invalid(reason) if reason.contains("local")), "{error}");
}

fn a_missing_compiler_is_named() {
    let compiler = Compiler::Child { program: "/nonexistent/compiler".into(), args: Vec::new() };
    let error = host_of(compiler, None, limits()).compile(&shipped("sticky")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/compiler cannot be run"), "{error}");
}

fn a_child_that_is_no_compiler_is_ended() {
    let of = |program: &str, args: &[&str]| {
        let args = args.iter().map(OsString::from).collect();
        let compiler = Compiler::Child { program: program.into(), args };
        let limits = Limits { compile_time_ms: 300, ..limits() };
        host_of(compiler, None, limits).compile(&shipped("sticky")).unwrap_err().to_string()
    };
    assert!(of("/bin/sleep", &["60"]).contains("longer than 300 ms"));
    assert!(of("/bin/sh", &["-c", "echo words >&2; exit 7"]).contains("words"));
    assert!(of("/bin/true", &[]).contains("the compiler failed"));
    assert!(of("/bin/echo", &["not machine code"]).contains("cannot be loaded"));
}
