//! An uploaded component, as bytes or as text: it is inspected before anything compiles or runs it, and is taken with
//! its name and kind, or refused with a sentence of bounded length.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ottla_fuzz as _;
use ottla_plugin_host::{Compiler, Host, HostConfig, Limits, digest_of};

/// A refusal repeats at most two names of the component, and says how to build a better one.
const REFUSAL_BYTES_MAX: usize = 2000;

static HOST: LazyLock<Host> = LazyLock::new(|| {
    // Nothing is compiled.
    let compiler = Compiler::InProcess;
    Host::new(HostConfig { compiler, cache_dir: None, limits: Limits::default() })
});

fuzz_target!(|bytes: &[u8]| {
    inspect(bytes);
    // Text is what the corpus is kept in, and a way past the first bytes.
    if bytes.starts_with(b"(")
        && let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(component) = wat::parse_str(text)
    {
        inspect(&component);
    }
});

fn inspect(component: &[u8]) {
    match HOST.inspect(component) {
        Ok(found) => {
            assert!(!found.kinds.is_empty());
            assert_eq!((found.digest, found.size_bytes), (digest_of(component), component.len() as u64));
        }
        Err(refused) => {
            let words = refused.to_string();
            assert!(!words.is_empty() && words.len() <= REFUSAL_BYTES_MAX, "{} bytes: {words}", words.len());
        }
    }
}
