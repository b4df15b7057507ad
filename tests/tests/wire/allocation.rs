//! An allocator that counts what the current thread asks for, so that a test can say how much a decoder took.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ASKED_BYTES: Cell<usize> = const { Cell::new(0) };
}

pub struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ASKED_BYTES.try_with(|asked| asked.set(asked.get().saturating_add(layout.size())));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ASKED_BYTES.try_with(|asked| asked.set(asked.get().saturating_add(size)));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `work` returns, and the bytes that it asked for on this thread, given back or not.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED_BYTES.get();
    let done = work();
    (done, ASKED_BYTES.get() - before)
}
