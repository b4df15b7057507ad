//! Open files, bounded for the whole process. A segment or an index asks its handle for the file when it needs it;
//! the handle opens it, and the pool closes what was not used lately once too many are open. A reader that holds the
//! `Arc<File>` goes on reading whatever happens to the handle, the name or the segment.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use crate::disk;

/// Segments and indexes may take a third of the descriptors of the process; the rest is for connections.
const SHARE_OF_DESCRIPTORS: u64 = 3;
/// At least and at most so many files stay open, whatever the limit of the process.
const FILES_MIN: u64 = 64;
const FILES_MAX: u64 = 100_000;

/// The open files of all logs of this process. A clock: a file that was used since the hand last passed gets another
/// round.
pub(crate) struct FilePool {
    files_max: usize,
    opened: Mutex<VecDeque<Weak<Slot>>>,
}

#[derive(Default)]
struct Slot {
    file: Mutex<Option<Arc<File>>>,
    used: AtomicBool,
}

impl FilePool {
    pub fn new(files_max: usize) -> FilePool {
        FilePool { files_max, opened: Mutex::new(VecDeque::new()) }
    }

    /// The pool of this process, since descriptors are a resource of the process. Its size follows from the limit of
    /// open files at the first use.
    pub fn shared() -> &'static FilePool {
        static POOL: OnceLock<FilePool> = OnceLock::new();
        POOL.get_or_init(|| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let share = limit.map_or(FILES_MAX, |limit| limit / SHARE_OF_DESCRIPTORS);
            FilePool::new(share.clamp(FILES_MIN, FILES_MAX) as usize)
        })
    }

    fn admit(&self, slot: &Arc<Slot>) {
        let mut opened = self.opened.lock();
        opened.push_back(Arc::downgrade(slot));
        // Two rounds suffice: the first takes the mark off, the second closes.
        let mut steps = opened.len() * 2;
        while opened.len() > self.files_max && steps > 0 {
            steps -= 1;
            let Some(candidate) = opened.pop_front() else { break };
            let Some(alive) = candidate.upgrade() else { continue };
            if Arc::ptr_eq(&alive, slot) || alive.used.swap(false, Ordering::Relaxed) {
                opened.push_back(candidate);
                continue;
            }
            // A slot that is locked is in use right now.
            match alive.file.try_lock() {
                Some(mut file) => *file = None,
                None => opened.push_back(candidate),
            }
        }
    }
}

/// One file, opened when it is needed.
pub(crate) struct FileHandle {
    slot: Arc<Slot>,
    pool: &'static FilePool,
}

impl FileHandle {
    pub fn new() -> FileHandle {
        FileHandle::in_pool(FilePool::shared())
    }

    pub fn in_pool(pool: &'static FilePool) -> FileHandle {
        FileHandle { slot: Arc::default(), pool }
    }

    /// The open file; `path` is asked only when it must be opened. A file that is missing is an error.
    pub fn get(&self, path: impl FnOnce() -> PathBuf) -> io::Result<Arc<File>> {
        self.get_or_open(path, false)
    }

    /// As `get`, but a missing file is created.
    pub fn get_or_create(&self, path: impl FnOnce() -> PathBuf) -> io::Result<Arc<File>> {
        self.get_or_open(path, true)
    }

    fn get_or_open(&self, path: impl FnOnce() -> PathBuf, create: bool) -> io::Result<Arc<File>> {
        let mut held = self.slot.file.lock();
        if !self.slot.used.load(Ordering::Relaxed) {
            self.slot.used.store(true, Ordering::Relaxed);
        }
        if let Some(file) = held.as_ref() {
            return Ok(file.clone());
        }
        let path = path();
        let file = Arc::new(if create { disk::open_or_create(&path)? } else { disk::open(&path)? });
        *held = Some(file.clone());
        drop(held);
        self.pool.admit(&self.slot);
        Ok(file)
    }

    /// Lets go of the file; whoever holds it still reads it.
    pub fn close(&self) {
        *self.slot.file.lock() = None;
    }

    #[cfg(test)]
    fn is_open(&self) -> bool {
        self.slot.file.lock().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn at_most_so_many_files_stay_open_and_a_held_one_goes_on_reading() {
        let dir = tempfile::tempdir().unwrap();
        let pool: &'static FilePool = Box::leak(Box::new(FilePool::new(3)));
        let handles: Vec<FileHandle> = (0..10).map(|_| FileHandle::in_pool(pool)).collect();
        let path = |n: usize| dir.path().join(n.to_string());
        assert!(handles[0].get(|| path(0)).is_err(), "a missing file is not created by a reader");
        let held = handles[0].get_or_create(|| path(0)).unwrap();
        held.write_all_at(b"still here", 0).unwrap();
        for (n, handle) in handles.iter().enumerate() {
            handle.get_or_create(|| path(n)).unwrap();
            assert!(handle.is_open());
            assert!(handles.iter().filter(|handle| handle.is_open()).count() <= 3);
        }
        assert!(!handles[0].is_open());
        std::fs::remove_file(path(0)).unwrap();
        let mut read = [0; 10];
        held.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"still here");
        handles[5].get_or_create(|| path(5)).unwrap();
        handles[5].close();
        assert!(!handles[5].is_open());
    }
}
