//! Compiles a component in a process of its own. Cranelift can neither be interrupted nor be given a memory bound, so
//! the process is: it has rlimits for processor time and address space, a low priority, and is killed on time.
//!
//! Both ends are here: [`compile_in_child`] is called by the compiler in the broker, [`compile_child_main`] is what
//! the child runs. The component goes in by stdin, machine code comes out by stdout, a sentence by stderr.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::cache::CODE_BYTES_MAX;
use crate::engine::new_engine;
use crate::error::PluginError;
use crate::limits::Limits;

const TIME_VARIABLE: &str = "OTTLA_COMPILE_TIME_MS";
const MEMORY_VARIABLE: &str = "OTTLA_COMPILE_MEMORY_BYTES";
const SIZE_VARIABLE: &str = "OTTLA_COMPILE_COMPONENT_BYTES";
/// The child says that the component is at fault.
const EXIT_INVALID: i32 = 1;
/// The child says that it could not work.
const EXIT_BROKEN: i32 = 2;
/// Below the broker's threads, but not so far that a busy machine starves it: at the lowest priority, 19, a component
/// that compiles in 0.3 s took more than a minute beside four busy threads a core.
const NICE: i32 = 5;
/// What is read of the child's stderr.
const MESSAGE_BYTES_MAX: u64 = 4096;
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;
const SIGXCPU: i32 = 24;

/// Runs `program args…` on a component and returns its machine code.
///
/// # Errors
/// By time, by memory, by the component's fault, or because the program cannot be run.
pub(crate) fn compile_in_child(
    program: &Path,
    args: &[OsString],
    component: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, PluginError> {
    let deadline = Instant::now() + Duration::from_millis(limits.compile_time_ms);
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env(TIME_VARIABLE, limits.compile_time_ms.to_string())
        .env(MEMORY_VARIABLE, limits.compile_memory_bytes.to_string())
        .env(SIZE_VARIABLE, limits.component_bytes.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| PluginError::Compiler(format!("{} cannot be run: {error}", program.display())))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(PluginError::Compiler("its pipes are missing".into()));
    };
    thread::scope(|scope| {
        // The child may die before it has read everything; its status says why.
        scope.spawn(move || drop(stdin.write_all(component)));
        let code = scope.spawn(move || read_bounded(stdout, CODE_BYTES_MAX));
        let message = scope.spawn(move || read_bounded(stderr, MESSAGE_BYTES_MAX));
        let status = wait_until(&mut child, deadline);
        let code = code.join().unwrap_or_default();
        let message = message.join().unwrap_or_default();
        judge(status, code, &String::from_utf8_lossy(&message), limits)
    })
}

fn read_bounded(mut from: impl Read, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = from.by_ref().take(bytes_max).read_to_end(&mut bytes);
    // The rest is read and thrown away, so that the child is not stopped by a full pipe.
    let _ = io::copy(&mut from, &mut io::sink());
    bytes
}

/// The child's status, or none if it had to be killed.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn judge(
    status: io::Result<Option<ExitStatus>>,
    code: Vec<u8>,
    message: &str,
    limits: &Limits,
) -> Result<Vec<u8>, PluginError> {
    let out_of_time = PluginError::CompileTime { limit_ms: limits.compile_time_ms };
    let message = message.trim();
    match status {
        Err(error) => Err(PluginError::Compiler(format!("waiting for it failed: {error}"))),
        Ok(None) => Err(out_of_time),
        Ok(Some(status)) if status.success() && !code.is_empty() => Ok(code),
        Ok(Some(status)) => Err(match (status.code(), status.signal()) {
            (Some(EXIT_INVALID), _) => PluginError::Invalid(message.to_owned()),
            (_, Some(SIGXCPU | SIGKILL)) => out_of_time,
            // An allocation that fails aborts a Rust program; a stack that cannot grow ends by SIGSEGV.
            (_, Some(SIGABRT | SIGSEGV)) => {
                PluginError::CompileMemory { limit_bytes: limits.compile_memory_bytes }
            }
            _ => PluginError::Compiler(format!("it ended with {status}: {message}")),
        }),
    }
}

/// What the hidden command of the broker's binary runs: limits itself, compiles stdin to stdout, and returns the
/// exit code. The process must do nothing else.
pub fn compile_child_main() -> i32 {
    match limit_and_compile() {
        Ok(()) => 0,
        Err((code, message)) => {
            let _ = writeln!(io::stderr(), "{message}");
            code
        }
    }
}

fn limit_and_compile() -> Result<(), (i32, String)> {
    let broken = |what: &str| {
        let what = what.to_owned();
        move |error: &dyn std::fmt::Display| (EXIT_BROKEN, format!("{what}: {error}"))
    };
    let number = |name: &str| -> Result<u64, (i32, String)> {
        let text = std::env::var(name).map_err(|error| broken(name)(&error))?;
        text.parse().map_err(|error: std::num::ParseIntError| broken(name)(&error))
    };
    let (time_ms, memory_bytes, size_bytes_max) =
        (number(TIME_VARIABLE)?, number(MEMORY_VARIABLE)?, number(SIZE_VARIABLE)?);
    limit(Resource::Cpu, time_ms.div_ceil(1000) + 1).map_err(|error| broken("processor time")(&error))?;
    limit(Resource::As, memory_bytes).map_err(|error| broken("address space")(&error))?;
    limit(Resource::Core, 0).map_err(|error| broken("core dumps")(&error))?;
    setpriority_process(None, NICE).map_err(|error| broken("priority")(&error))?;

    let mut component = Vec::new();
    io::stdin()
        .take(size_bytes_max + 1)
        .read_to_end(&mut component)
        .map_err(|error| broken("stdin")(&error))?;
    if component.len() as u64 > size_bytes_max {
        return Err((EXIT_INVALID, format!("it has more than {size_bytes_max} bytes")));
    }
    let engine = new_engine(false).map_err(|error| broken("engine")(&error))?;
    let code =
        engine.precompile_component(&component).map_err(|error| (EXIT_INVALID, format!("{error:#}")))?;
    io::stdout().write_all(&code).map_err(|error| broken("stdout")(&error))
}

fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let value = Some(hard.map_or(value, |hard| hard.min(value)));
    setrlimit(resource, Rlimit { current: value, maximum: value })
}
