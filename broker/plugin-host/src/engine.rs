//! The wasmtime engine and the clock that interrupts guests. `host` makes the engine when the first plugin comes, so
//! that a broker without plugins carries none of it.
//!
//! Invariant: while a call runs, the epoch advances once per [`TICK`]; while none runs, the ticking thread sleeps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Config, Engine};

/// How often running guests are looked at; the resolution of every time limit.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Quiet ticks after which the ticking thread goes to sleep.
const IDLE_TICKS: u32 = 50;
/// Stack of a guest. Threads that call plugins have 2 MiB.
const STACK_BYTES: usize = 512 * 1024;

/// The configuration of broker and compiling child; machine code passes between them only where it is the same.
///
/// Instances are made on demand and not from a pool: they live as long as their attachment, so making one is rare,
/// and a pool would reserve its whole size at the first plugin.
pub(crate) fn new_engine(parallel: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .concurrency_support(false)
        .parallel_compilation(parallel)
        // A trap is reported by its kind and the plugin's own last log line; walking the stack would cost every trap.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    Engine::new(&config)
}

/// Advances the epoch while calls run. Dropping the last handle ends the thread.
pub(crate) struct Ticker {
    shared: Arc<Ticking>,
}

struct Ticking {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Ticking {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let ticking = shared.clone();
        let thread =
            std::thread::Builder::new().name("plugin-epoch".into()).spawn(move || ticking.run(&engine))?;
        // Set before any call can find the thread asleep: the first quiet tick is not over yet, and a caller that is
        // still too early only skips an unpark of a thread that has not slept.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Ticker { shared })
    }

    /// Marks a call as running until the guard is dropped.
    pub(crate) fn call(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.shared.wake();
        }
        Running(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.wake();
    }
}

pub(crate) struct Running<'a>(&'a Ticking);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticking {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, engine: &Engine) {
        let mut quiet = 0;
        while !self.ended.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            engine.increment_epoch();
            quiet = if self.running.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
            if quiet >= IDLE_TICKS && self.thread.get().is_some() {
                // A caller counts itself before it looks at `asleep`, and this looks at the count after it has set
                // `asleep`: one of the two sees the other.
                self.asleep.store(true, Ordering::SeqCst);
                while self.running.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                quiet = 0;
            }
        }
    }
}
