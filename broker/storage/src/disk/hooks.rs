//! Watchers of every change that this crate makes to a file system, for tests: a recorder of what happened in which
//! order, a disk that fails or takes its time. Stands around each function of `disk`; a broker that ships has none of
//! it. The invariant: `before` is called ahead of the change and may refuse it, `after` once it has succeeded.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

pub use super::Change;

/// Sees the changes of all logs of this process, on whatever thread they are made. Which of them concern it, it must
/// tell from their paths and files.
pub trait Hook: Send + Sync {
    /// Ahead of a change. An error refuses it: the caller gets this error, and nothing is done.
    fn before(&self, change: &Change<'_>) -> io::Result<()>;
    /// A change has succeeded.
    fn after(&self, change: &Change<'_>);
}

static HOOKS: RwLock<Vec<Arc<dyn Hook>>> = RwLock::new(Vec::new());
/// Spares a process without hooks the copies that are made for them.
static ANY: AtomicBool = AtomicBool::new(false);

/// A hook that is called until this is dropped.
#[must_use = "the hook goes when this is dropped"]
pub struct Installed(Arc<dyn Hook>);

/// Begins to call `hook`.
pub fn install(hook: Arc<dyn Hook>) -> Installed {
    let mut hooks = HOOKS.write();
    hooks.push(Arc::clone(&hook));
    ANY.store(true, Ordering::SeqCst);
    Installed(hook)
}

impl Drop for Installed {
    fn drop(&mut self) {
        let mut hooks = HOOKS.write();
        hooks.retain(|hook| !Arc::ptr_eq(hook, &self.0));
        ANY.store(!hooks.is_empty(), Ordering::SeqCst);
    }
}

/// The path of an open file, as the kernel knows it.
pub fn path_of(file: &File) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

pub(super) fn around<T>(change: &Change<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !ANY.load(Ordering::SeqCst) {
        return act();
    }
    // A hook may block, and another may come or go meanwhile.
    let hooks = HOOKS.read().clone();
    hooks.iter().try_for_each(|hook| hook.before(change))?;
    let done = act()?;
    hooks.iter().for_each(|hook| hook.after(change));
    Ok(done)
}

pub(super) fn copied(slices: &[IoSlice<'_>]) -> Vec<u8> {
    if !ANY.load(Ordering::SeqCst) {
        return Vec::new();
    }
    slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use parking_lot::Mutex;

    use super::*;
    use crate::disk::{self, Durability};
    use crate::error::StorageError;

    /// Notes what changes under a folder, and refuses changes of one path.
    struct Watch {
        dir: PathBuf,
        refused: PathBuf,
        seen: Mutex<Vec<String>>,
    }

    impl Watch {
        fn name(&self, path: &Path) -> Option<String> {
            path.strip_prefix(&self.dir).ok().map(|path| path.display().to_string())
        }
    }

    impl Hook for Watch {
        fn before(&self, change: &Change<'_>) -> io::Result<()> {
            match change {
                Change::Create(path) if *path == self.refused => Err(ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        }

        fn after(&self, change: &Change<'_>) {
            let seen = match *change {
                Change::Create(path) => self.name(path).map(|name| format!("create {name}")),
                Change::Rename { from, to } => {
                    self.name(from).zip(self.name(to)).map(|(from, to)| format!("rename {from} {to}"))
                }
                Change::Remove(path) => self.name(path).map(|name| format!("remove {name}")),
                Change::CreateDir(path) => self.name(path).map(|name| format!("create folder {name}")),
                Change::SyncDir(path) => self.name(path).map(|name| format!("sync folder {name}")),
                _ => None,
            };
            self.seen.lock().extend(seen);
        }
    }

    #[test]
    fn a_hook_sees_changes_in_order_and_can_refuse_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let watch = Arc::new(Watch {
            dir: dir.path().to_owned(),
            refused: path("a/full.tmp"),
            seen: Mutex::default(),
        });
        let installed = install(watch.clone());
        disk::create_dirs(&path("a/b")).unwrap();
        disk::replace(&path("a/f"), b"content", Durability::Synced).unwrap();
        let refused = disk::replace(&path("a/full"), b"content", Durability::Synced);
        assert!(matches!(refused, Err(StorageError::DiskFull { .. })), "{refused:?}");
        drop(installed);
        disk::remove(&path("a/f")).unwrap();
        let expected =
            ["create folder a", "create folder a/b", "create a/f.tmp", "rename a/f.tmp a/f", "sync folder a"];
        assert_eq!(*watch.seen.lock(), expected);
    }
}
