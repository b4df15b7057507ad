//! Log lines for the topic's owner. The broker keeps a budget per second; outside of WebAssembly they go to stderr.

#[cfg(target_arch = "wasm32")]
use crate::bindings::keys::ottla::plugin::log as host;

/// Writes a line that helps to debug the plugin.
pub fn debug(message: &str) {
    #[cfg(target_arch = "wasm32")]
    host::write(host::Level::Debug, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("debug: {message}");
}

/// Writes a line about normal work.
pub fn info(message: &str) {
    #[cfg(target_arch = "wasm32")]
    host::write(host::Level::Info, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("info: {message}");
}

/// Writes a line about something that someone should look at.
pub fn warn(message: &str) {
    #[cfg(target_arch = "wasm32")]
    host::write(host::Level::Warn, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("warn: {message}");
}

/// Writes a line about a failure. If the plugin traps in the same call, the broker quotes the last of these.
pub fn error(message: &str) {
    #[cfg(target_arch = "wasm32")]
    host::write(host::Level::Error, message);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("error: {message}");
}
