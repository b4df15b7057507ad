//! Machine code on disk, so that a restart does not compile again. The compiler looks here first and leaves its
//! results here.
//!
//! Machine code is run as it is, so a file is trusted only if this process's user wrote it: folder and file must
//! belong to that user with no write permission for others, and each file begins with a digest of the rest. Anything
//! else is compiled anew. Failures of the cache cost time and are logged; they are never errors.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Machine code of a component, at most.
pub(crate) const CODE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Files kept; the oldest go first.
const FILES_MAX: usize = 256;
const DIGEST_BYTES: usize = 32;

pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(crate) fn new(dir: PathBuf) -> Cache {
        Cache { dir }
    }

    /// The machine code under `name`, if there is some and it can be trusted.
    pub(crate) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        match read_trusted(&self.dir, &path) {
            Ok(code) => Some(code),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cached machine code is not used; compiling again");
                None
            }
        }
    }

    /// Keeps machine code that this process's compiler made.
    pub(crate) fn store(&self, name: &str, code: &[u8]) {
        if let Err(error) = self.write(name, code) {
            tracing::warn!(dir = %self.dir.display(), %error, "machine code is not cached; a restart compiles again");
        }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        check_owner(&fs::symlink_metadata(&self.dir)?)?;
        let temporary = self.dir.join(format!("{name}.{}.tmp", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        drop(file);
        fs::rename(&temporary, self.dir.join(name))?;
        self.evict()
    }

    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort();
        let excess = files.len().saturating_sub(FILES_MAX);
        files.iter().take(excess).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn read_trusted(dir: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    check_owner(&fs::symlink_metadata(dir)?)?;
    let metadata = file.metadata()?;
    check_owner(&metadata)?;
    if metadata.len() > CODE_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    let mut digest = [0; DIGEST_BYTES];
    file.read_exact(&mut digest)?;
    let mut code = Vec::with_capacity(metadata.len() as usize);
    file.take(CODE_BYTES_MAX).read_to_end(&mut code)?;
    if Sha256::digest(&code).as_slice() != digest {
        return Err(io::Error::other("its digest is wrong"));
    }
    Ok(code)
}

fn check_owner(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("other users may write to it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_stored_is_loaded_until_someone_else_could_have_touched_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("code");
        let cache = Cache::new(dir.clone());
        assert_eq!(cache.load("a"), None);
        cache.store("a", b"machine code");
        assert_eq!(cache.load("a").as_deref(), Some(&b"machine code"[..]));

        let path = dir.join("a");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.load("a"), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(cache.load("a"), None);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(cache.load("a").is_some());

        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.load("a"), None);
    }

    #[test]
    fn the_oldest_files_go() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path().join("code"));
        for i in 0..FILES_MAX + 3 {
            cache.store(&format!("f{i}"), b"x");
        }
        assert_eq!(fs::read_dir(root.path().join("code")).unwrap().count(), FILES_MAX);
        assert!(cache.load(&format!("f{}", FILES_MAX + 2)).is_some());
    }
}
