//! An allocator that ends the run when a single allocation is larger than any input justifies. Without it, memory that
//! is asked for and never touched would go unnoticed.

use std::alloc::{GlobalAlloc, Layout, System};

/// No target's input may lead to one allocation of more.
pub const ALLOCATION_BYTES_MAX: usize = 160 << 20;

pub struct Bounded;

impl Bounded {
    fn check(size: usize) {
        if size > ALLOCATION_BYTES_MAX {
            // Not a panic: the code under test might catch it.
            std::process::abort();
        }
    }
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::check(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::check(size);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;
