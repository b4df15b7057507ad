//! Reads what a component is from its bytes, without compiling or running it: its kinds from the names of its
//! exports, and whether its imports are allowed. The upload handler asks this first; the compiler trusts nothing of
//! it but the names.
//!
//! Invariant: only the outermost component's imports and exports count, and every refusal says how to build a
//! component that is taken.

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::error::Refused;
use crate::topic::Kind;

const PACKAGE: &str = "ottla:plugin";
/// Kinds of the contract that this broker does not run yet.
const LATER: [&str; 1] = ["transform-records"];
/// Imports and exports of one component that are listed, at most.
const NAMES_MAX: usize = 1000;
/// A name of an import or export that is repeated in an error is cut to this.
const NAME_BYTES_MAX: usize = 120;

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The kinds that this broker runs, in the order of [`Kind`]; one at least.
    pub kinds: Vec<Kind>,
    /// Full names of the exports of those kinds, in the same order.
    pub(crate) interfaces: Vec<String>,
    /// All imports, by name.
    pub imports: Vec<String>,
    /// Kinds of the contract that the component exports and this broker does not run.
    pub kinds_not_run: Vec<String>,
    /// Exports that are no part of the contract.
    pub other_exports: Vec<String>,
    /// SHA-256 of the component, in lower-case hex.
    pub digest: String,
    pub size_bytes: u64,
}

/// SHA-256 in lower-case hex: the name of a component's bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// # Errors
/// Too large, no component, an import that is not allowed, or no export that this broker runs.
pub(crate) fn inspect(component: &[u8], size_bytes_max: u64) -> Result<Inspection, Refused> {
    let size_bytes = component.len() as u64;
    if size_bytes > size_bytes_max {
        return Err(Refused(format!(
            "the component has {size_bytes} bytes, and ottla.plugin.component.bytes allows {size_bytes_max}; build it \
             with optimisation and without debug information, or raise the limit"
        )));
    }
    let names = top_level_names(component)?;
    for import in &names.imports {
        if !is_allowed_import(import) {
            return Err(Refused(refused_import(import)));
        }
    }
    let mut found = Vec::new();
    let mut kinds_not_run = Vec::new();
    let mut other_exports = Vec::new();
    for export in names.exports {
        match contract_interface(&export)? {
            Some(interface) => match Kind::ALL.into_iter().find(|kind| kind.name() == interface) {
                Some(kind) => found.push((kind, export)),
                None => kinds_not_run.push(interface.to_owned()),
            },
            None => other_exports.push(export),
        }
    }
    found.sort_by_key(|(kind, _)| *kind as u8);
    let (kinds, interfaces): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    if kinds.is_empty() {
        return Err(Refused(no_kind(&kinds_not_run, &other_exports)));
    }
    if kinds.contains(&Kind::Keys) && kinds.contains(&Kind::Records) {
        return Err(Refused(
            "the component exports both partition-keys and partition-records, so it is open which of them places \
             records; export partition-records alone: a rule that asks for keys only costs the same"
                .into(),
        ));
    }
    Ok(Inspection {
        kinds,
        interfaces,
        imports: names.imports,
        kinds_not_run,
        other_exports,
        digest: digest_of(component),
        size_bytes,
    })
}

impl Inspection {
    /// The kind that places records, and the full name of its interface, where the component has one.
    pub(crate) fn partitioner(&self) -> Option<(Kind, &str)> {
        let position = self.kinds.iter().position(|kind| kind.is_partitioner())?;
        Some((self.kinds[position], &self.interfaces[position]))
    }

    /// True if the component says how long records stay.
    pub(crate) fn is_retention(&self) -> bool {
        self.kinds.iter().any(|kind| kind.is_retention())
    }

    /// The full name of the interface of a kind, where the component has it.
    pub(crate) fn interface(&self, kind: Kind) -> Option<&str> {
        let position = self.kinds.iter().position(|found| *found == kind)?;
        Some(&self.interfaces[position])
    }
}

struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

fn top_level_names(bytes: &[u8]) -> Result<Names, Refused> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Refused(
            "this is not WebAssembly: the file does not begin with \\0asm; give the .wasm file that \
             `ottla plugin build` writes"
                .into(),
        ));
    }
    let broken = |error: wasmparser::BinaryReaderError| {
        Refused(format!("the component is damaged: {error}; build it again and upload the whole file"))
    };
    let mut names = Names { imports: Vec::new(), exports: Vec::new() };
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(Refused(
                    "this is a core WebAssembly module, not a component; turn it into one with \
                     `ottla plugin build --module FILE.wasm` (it must carry the contract's bindings, see plugin-sdk/README.md)"
                        .into(),
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    push_name(&mut names.imports, import.map_err(broken)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    push_name(&mut names.exports, export.map_err(broken)?.name.name)?;
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

fn push_name(names: &mut Vec<String>, name: &str) -> Result<(), Refused> {
    if names.len() == NAMES_MAX {
        return Err(Refused(format!("the component has more than {NAMES_MAX} imports or exports")));
    }
    names.push(name.to_owned());
    Ok(())
}

/// Splits `ottla:plugin/log@0.1.0` into interface and version. None for names outside the contract's package.
fn split_name(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.strip_prefix('/').map(|rest| rest.split_once('@').unwrap_or((rest, "")))
}

/// Every 0.1.x speaks the contract of `wit/0.1`.
fn is_known_version(version: &str) -> bool {
    let mut parts = version.split('.');
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some("0"), Some("1"), Some(patch), None) if patch.parse::<u32>().is_ok()
    )
}

fn is_allowed_import(name: &str) -> bool {
    matches!(split_name(name), Some(("log" | "types", version)) if is_known_version(version))
}

fn contract_interface(export: &str) -> Result<Option<&str>, Refused> {
    let Some((interface, version)) = split_name(export) else { return Ok(None) };
    let known = Kind::ALL.into_iter().any(|kind| kind.name() == interface) || LATER.contains(&interface);
    if !known {
        return Ok(None);
    }
    if !is_known_version(version) {
        return Err(Refused(format!(
            "the component exports {}, and this broker speaks {PACKAGE}@0.1; build it against wit/0.1",
            shortened(export)
        )));
    }
    Ok(Some(interface))
}

fn refused_import(import: &str) -> String {
    let import = shortened(import);
    if import.starts_with(PACKAGE) {
        return format!(
            "the component imports {import}, and this broker offers {PACKAGE}/log@0.1; build it against wit/0.1"
        );
    }
    let why = if import.starts_with("wasi:") {
        "plugins reach no files, clocks, sockets or random numbers"
    } else {
        "a plugin may import nothing but ottla:plugin/log"
    };
    format!(
        "the component imports {import}, and {why}. Build it without: Rust: --target wasm32-unknown-unknown instead of \
         wasm32-wasip1 or wasm32-wasip2; C and C++: -mexec-model=reactor, and a stub for the WASI functions that libc \
         drags in; Zig: -target wasm32-freestanding; AssemblyScript: --runtime stub --use abort=; TinyGo and Go: \
         -buildmode=c-shared with a WASI stub; JavaScript: componentize-qjs --stub-wasi, or jco componentize \
         --disable all; Python: componentize-py componentize --stub-wasi"
    )
}

fn no_kind(kinds_not_run: &[String], other_exports: &[String]) -> String {
    if !kinds_not_run.is_empty() {
        return format!(
            "the component exports {}, which this broker does not run yet; it runs {}",
            kinds_not_run.join(" and "),
            Kind::ALL.map(Kind::name).join(", ")
        );
    }
    let found = match other_exports.first() {
        None => "the component exports nothing".to_owned(),
        Some(first) => format!("the component exports {} and no interface of the contract", shortened(first)),
    };
    format!(
        "{found}; export {PACKAGE}/partition-keys@0.1.0 or {PACKAGE}/partition-records@0.1.0 to place records, \
         {PACKAGE}/retain-segments@0.1.0 or {PACKAGE}/retain-records@0.1.0 to decide how long they stay (in Rust with \
         ottla_plugin::export_key_partitioner! and its siblings)"
    )
}

fn shortened(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    match clean.char_indices().nth(NAME_BYTES_MAX) {
        None => clean,
        Some((end, _)) => format!("{}…", &clean[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        inspect(&wat::parse_str(text).unwrap(), u64::MAX).unwrap_err().to_string()
    }

    fn exporting(names: &[&str]) -> String {
        let exports: String = names.iter().map(|name| format!("(export \"{name}\" (instance $i))")).collect();
        format!("(component (instance $i) {exports})")
    }

    #[test]
    fn kinds_are_read_from_exports_and_other_exports_are_tolerated() {
        let text = exporting(&["ottla:plugin/partition-keys@0.1.3", "init"]);
        let found = inspect(&wat::parse_str(text).unwrap(), u64::MAX).unwrap();
        assert_eq!(found.kinds, [Kind::Keys]);
        assert_eq!(found.interfaces, ["ottla:plugin/partition-keys@0.1.3"]);
        assert_eq!(found.other_exports, ["init"]);
        assert_eq!(found.partitioner(), Some((Kind::Keys, "ottla:plugin/partition-keys@0.1.3")));
        assert!(!found.is_retention());
    }

    #[test]
    fn kinds_of_placing_and_of_retention_go_together() {
        let names = ["retain-records", "partition-records", "retain-segments", "transform-records"];
        let full: Vec<String> = names.iter().map(|name| format!("ottla:plugin/{name}@0.1.0")).collect();
        let text = exporting(&full.iter().map(String::as_str).collect::<Vec<_>>());
        let found = inspect(&wat::parse_str(text).unwrap(), u64::MAX).unwrap();
        assert_eq!(found.kinds, [Kind::Records, Kind::RetainSegments, Kind::RetainRecords]);
        assert_eq!(found.kinds_not_run, ["transform-records"]);
        assert!(found.is_retention());
        assert_eq!(found.partitioner().map(|(kind, _)| kind), Some(Kind::Records));
        assert_eq!(found.interface(Kind::RetainRecords), Some("ottla:plugin/retain-records@0.1.0"));
        assert_eq!(found.interface(Kind::Keys), None);
    }

    #[test]
    fn each_refusal_says_what_was_found_and_what_to_do() {
        let transform = exporting(&["ottla:plugin/transform-records@0.1.0"]);
        let newer = exporting(&["ottla:plugin/partition-keys@0.2.0"]);
        let both = exporting(&["ottla:plugin/partition-keys@0.1.0", "ottla:plugin/partition-records@0.1.0"]);
        for (text, words) in [
            ("(module)", ["core WebAssembly module", "ottla plugin build"]),
            ("(component)", ["exports nothing", "partition-keys@0.1.0"]),
            ("(component (instance $i) (export \"run\" (instance $i)))", ["exports run", "partition-keys"]),
            (&transform, ["transform-records", "does not run yet"]),
            (&newer, ["partition-keys@0.2.0", "wit/0.1"]),
            (&both, ["both partition-keys and partition-records", "export partition-records alone"]),
            (
                "(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance)))",
                ["wasi:clocks/wall-clock@0.2.0", "wasm32-unknown-unknown"],
            ),
            ("(component (import \"ottla:plugin/log@0.2.0\" (instance)))", ["log@0.2.0", "wit/0.1"]),
        ] {
            let message = refusal(text);
            for word in words {
                assert!(message.contains(word), "{text}: {message}");
            }
        }
    }

    #[test]
    fn nested_components_do_not_count() {
        let message = refusal(
            "(component (component (import \"wasi:a/b@0.2.0\" (instance)) (instance $i)
               (export \"ottla:plugin/partition-keys@0.1.0\" (instance $i))))",
        );
        assert!(message.contains("exports nothing"), "{message}");
    }

    #[test]
    fn size_and_damage_are_refused() {
        let message = inspect(&[0; 100], 99).unwrap_err().to_string();
        assert!(
            message.contains("100 bytes") && message.contains("ottla.plugin.component.bytes"),
            "{message}"
        );
        assert!(inspect(b"hello", 99).unwrap_err().to_string().contains("not WebAssembly"));
        let bytes = wat::parse_str(exporting(&["ottla:plugin/partition-keys@0.1.0"])).unwrap();
        for end in 0..bytes.len() {
            let _ = inspect(&bytes[..end], u64::MAX);
        }
        assert!(inspect(&bytes[..bytes.len() - 1], u64::MAX).unwrap_err().to_string().contains("damaged"));
    }
}
