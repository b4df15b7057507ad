//! What 100,000 pairs take, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_lag::{Book, Position, Settings};

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all work is the system's allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_pair_takes_at_most_a_kilobyte() {
    // Worst for the book: every pair has a partition of its own, and every tenth a group of its own.
    for (partitions, groups) in [(100_000, 10_000), (100, 1_000)] {
        let before = HELD.load(Ordering::Relaxed);
        let mut book = Book::new(Settings::default());
        for number in 0..100_000_i32 {
            let position = Position {
                group: &format!("a-group-with-a-name-{}", number / (100_000 / groups)),
                topic: "orders",
                partition: number % partitions,
                offset: 5,
                at_ms: 0,
                source: 0,
            };
            book.commit(&position, Some(1), Some(9), 0);
        }
        assert_eq!(book.pair_count(), 100_000);
        let each = (HELD.load(Ordering::Relaxed) - before) / 100_000;
        println!("{each} bytes a pair with {partitions} partitions and {groups} groups");
        assert!(each <= 1_024, "{each} bytes a pair");
    }
}
