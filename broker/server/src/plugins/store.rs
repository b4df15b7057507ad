//! The bytes of uploaded components, in a folder of the data directory, each in a file named by its digest. The
//! registry writes a component before cluster metadata names it, and reads it when a topic attaches it.
//!
//! Invariant: a file with its final name is whole, and what leaves here has the digest that was asked for, whatever
//! happened to the disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ottla_plugin_host::digest_of;

const SUFFIX: &str = "wasm";

/// The folder.
pub struct Store {
    dir: PathBuf,
}

/// Why a component's bytes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the component {digest} is not in {dir}; push the plugin again")]
    Missing { digest: String, dir: PathBuf },
    #[error("the file of component {digest} in {dir} is damaged; remove it and push the plugin again")]
    Damaged { digest: String, dir: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Store {
    /// Nothing is touched before the first component comes.
    pub fn new(dir: PathBuf) -> Store {
        Store { dir }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.{SUFFIX}"))
    }

    /// Writes a component and returns once it is on disk. What is there already and whole stays.
    pub fn put(&self, digest: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(digest);
        if matches!(self.get(digest, bytes.len() as u64), Ok(found) if found == bytes) {
            return Ok(());
        }
        let io_error = |source| StoreError::Io { path: path.clone(), source };
        fs::create_dir_all(&self.dir).map_err(io_error)?;
        // The process id keeps two brokers that share a folder by mistake from writing into one file.
        let temporary = self.dir.join(format!("{digest}.{}.tmp", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            io_error(source)
        })
    }

    /// Reads a component of `size_bytes` bytes.
    pub fn get(&self, digest: &str, size_bytes: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(digest);
        let missing = || StoreError::Missing { digest: digest.to_owned(), dir: self.dir.clone() };
        let damaged = || StoreError::Damaged { digest: digest.to_owned(), dir: self.dir.clone() };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let mut bytes = Vec::new();
        // One byte more tells a file that grew from one that is whole.
        let read = file.take(size_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| StoreError::Io { path, source })?;
        if bytes.len() as u64 != size_bytes || digest_of(&bytes) != digest {
            return Err(damaged());
        }
        Ok(bytes)
    }

    /// Removes what no digest in `kept` names, and what an interrupted write left behind.
    pub fn retain(&self, kept: impl Fn(&str) -> bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let goes = match path.extension().and_then(|extension| extension.to_str()) {
                Some(SUFFIX) => !kept(stem),
                Some("tmp") => true,
                _ => false,
            };
            if goes && let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a component that nothing names was not removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_kept_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("ottla-plugins"));
        let bytes = b"\0asm something".to_vec();
        let digest = digest_of(&bytes);
        let size = bytes.len() as u64;
        assert!(matches!(store.get(&digest, size), Err(StoreError::Missing { .. })));
        store.put(&digest, &bytes).unwrap();
        store.put(&digest, &bytes).unwrap();
        assert_eq!(store.get(&digest, size).unwrap(), bytes);

        for damage in [&b"\0asm somethinG"[..], b"\0asm", b"\0asm something and more", b""] {
            fs::write(store.path(&digest), damage).unwrap();
            assert!(matches!(store.get(&digest, size), Err(StoreError::Damaged { .. })), "{damage:?}");
        }
        store.put(&digest, &bytes).unwrap();
        assert_eq!(store.get(&digest, size).unwrap(), bytes);
    }

    #[test]
    fn what_nothing_names_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let (kept, gone) = (digest_of(b"kept"), digest_of(b"gone"));
        store.put(&kept, b"kept").unwrap();
        store.put(&gone, b"gone").unwrap();
        fs::write(folder.path().join(format!("{gone}.77.tmp")), b"half").unwrap();
        fs::create_dir(folder.path().join("compiled")).unwrap();
        store.retain(|digest| digest == kept);
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut expected = vec!["compiled".to_owned(), format!("{kept}.wasm")];
        expected.sort();
        assert_eq!(names, expected);
    }
}
