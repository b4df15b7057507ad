//! Keeps every change that the storage crate makes to a file system in one file, where the crash model sees it and
//! where a test can make it fail. A change made elsewhere would be one that no cut of the crash model covers.

use crate::paths::named;
use crate::source::{Kind, Source, Token, within};

const STORAGE: &str = "broker/storage/src";
/// Where changes are made, and nowhere else.
const DISK: &str = "broker/storage/src/disk.rs";

/// Paths that change a file system, as their last two names.
const CHANGES: &[[&str; 2]] = &[
    ["File", "create"],
    ["File", "create_new"],
    ["File", "options"],
    ["OpenOptions", "new"],
    ["DirBuilder", "new"],
    ["fs", "write"],
    ["fs", "rename"],
    ["fs", "copy"],
    ["fs", "hard_link"],
    ["fs", "remove_file"],
    ["fs", "remove_dir"],
    ["fs", "remove_dir_all"],
    ["fs", "create_dir"],
    ["fs", "create_dir_all"],
    ["fs", "set_permissions"],
    ["io", "pwrite"],
    ["io", "pwritev"],
    ["fs", "fallocate"],
    ["fs", "fdatasync"],
    ["fs", "fsync"],
    ["fs", "ftruncate"],
];

/// Methods that change a file or sync it.
const METHODS: &[&str] = &["set_len", "sync_all", "sync_data", "write_at", "write_all_at", "set_modified"];

pub fn violations(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|source| within(&source.path, STORAGE) && source.path != DISK) {
        let mut found = |line: usize, what: &str| {
            violations
                .push(format!("{}:{line}: {what} changes a file system outside of {DISK}", source.path));
        };
        for path in named(&source.code) {
            let names: Vec<&str> = path.segments.iter().map(String::as_str).collect();
            if names.windows(2).any(|pair| CHANGES.iter().any(|change| pair == change)) {
                found(path.line, &names.join("::"));
            }
        }
        for call in source.code.windows(3).filter(|call| call[0].is('.')) {
            let method = call[1].name().filter(|name| METHODS.contains(name));
            if let (Some(method), Token { kind: Kind::Open('('), .. }) = (method, &call[2]) {
                found(call[1].line, method);
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use crate::source::tests::parse;

    #[test]
    fn changes_outside_of_their_file_are_found() {
        for (path, text, violations) in [
            ("broker/storage/src/log.rs", "fn a() { std::fs::rename(b, c); }", 1),
            (
                "broker/storage/src/log.rs",
                "use std::fs; fn a() { fs::create_dir_all(b); fs::read_dir(b); }",
                1,
            ),
            ("broker/storage/src/log.rs", "use std::fs::remove_file;", 1),
            ("broker/storage/src/log.rs", "fn a() { File::create(b)?.set_len(7) }", 2),
            ("broker/storage/src/log.rs", "fn a() { file.sync_data() }", 1),
            ("broker/storage/src/log.rs", "fn a() { disk::write_all_at(file, b, 0); File::open(b); }", 0),
            ("broker/storage/src/log.rs", "#[cfg(test)] mod tests { fn a() { fs::write(b, c); } }", 0),
            ("broker/storage/src/disk.rs", "fn a() { fs::rename(b, c) }", 0),
            ("broker/server/src/a.rs", "fn a() { fs::rename(b, c) }", 0),
        ] {
            let found = super::violations(&parse(&[(path, text)]));
            assert_eq!(found.len(), violations, "{path}: {text}: {found:?}");
        }
    }
}
