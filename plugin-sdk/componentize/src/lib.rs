//! Makes a component of the core module that a compiler wrote: the last step of building a plugin. The command
//! `ottla plugin build` and `plugins/build` call it after cargo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_component::ComponentEncoder;

/// The target that leaves no import of WASI behind.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Why there is no component; each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The module is none, or does not carry the contract's bindings.
    #[error("the module does not become a component: {0}")]
    Encode(String),
    #[error("cargo cannot be run: {0}; install Rust from https://rustup.rs")]
    NoCargo(std::io::Error),
    #[error(
        "cargo build failed; its messages stand above. If it found no `core`, run `rustup target add {TARGET}`"
    )]
    Cargo,
    #[error("cargo wrote no module at {0}; the crate needs `crate-type = [\"cdylib\"]` under [lib]")]
    NoModule(PathBuf),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
}

/// Turns a core module with the contract's bindings into a component.
///
/// # Errors
/// The module is damaged, lacks bindings, or imports what no contract offers.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let encode = |error: anyhow::Error| BuildError::Encode(format!("{error:#}"));
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module).map_err(encode)?.encode().map_err(encode)
}

/// What to build with cargo.
#[derive(Clone, Debug)]
pub struct CrateBuild {
    /// The folder of the plugin's Cargo.toml.
    pub dir: PathBuf,
    /// The name of the library as cargo writes it: dashes of the package become underscores.
    pub lib: String,
    /// A cargo profile, such as `release`.
    pub profile: String,
    /// Where cargo puts its output.
    pub target_dir: PathBuf,
    /// Passed to cargo as they are, such as `--locked`.
    pub cargo_args: Vec<OsString>,
}

/// Runs cargo for [`TARGET`] and componentizes what it built.
///
/// # Errors
/// Cargo cannot be run or fails (it has then printed why), or the module is not one of a plugin.
pub fn build_crate(build: &CrateBuild) -> Result<Vec<u8>, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(&build.dir)
        .args(["build", "--lib", "--target", TARGET, "--profile", &build.profile, "--target-dir"])
        .arg(&build.target_dir)
        .args(&build.cargo_args)
        .status()
        .map_err(BuildError::NoCargo)?;
    if !status.success() {
        return Err(BuildError::Cargo);
    }
    let module = module_path(build);
    if !module.exists() {
        return Err(BuildError::NoModule(module));
    }
    componentize(&read(&module)?)
}

fn module_path(build: &CrateBuild) -> PathBuf {
    // Cargo's folder for the profile `dev` is `debug`; all others have their own names.
    let profile = if build.profile == "dev" { "debug" } else { &build.profile };
    build.target_dir.join(TARGET).join(profile).join(format!("{}.wasm", build.lib))
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|error| BuildError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plugin_is_refused_with_a_reason() {
        for module in [&b""[..], b"not wasm", b"\0asm\x01\0\0\0"] {
            let outcome = componentize(module);
            // An empty module becomes a component without exports; the broker refuses that.
            if let Err(error) = outcome {
                assert!(error.to_string().contains("does not become a component"), "{error}");
            } else {
                assert_eq!(module.len(), 8);
            }
        }
    }
}
