//! The whole picture of 100,000 pairs: every one judged, every group with its figures; and what one commit costs.

use criterion::{Criterion, criterion_group, criterion_main};
use ottla_lag::{Book, Ends, Position, Settings};
use std::hint::black_box;

const GROUPS: i64 = 1_000;
const PARTITIONS: i32 = 100;

struct Growing(i64);

impl Ends for Growing {
    fn topic(&mut self, _: &str) -> Result<u128, bool> {
        Ok(1)
    }

    fn end(&mut self, partition: i32) -> Option<i64> {
        Some(self.0 * 1_000 + i64::from(partition))
    }
}

/// Windows that are full, a third of them rising, so that every rule is tried.
fn filled() -> Book {
    let mut book = Book::new(Settings::default());
    for round in 0..12_i64 {
        for group in 0..GROUPS {
            for partition in 0..PARTITIONS {
                let taken = if group % 3 == 0 { round * 500 } else { round * 990 };
                let position = Position {
                    group: &format!("group-{group}"),
                    topic: "orders",
                    partition,
                    offset: taken,
                    at_ms: round * 5_000,
                    source: 0,
                };
                let end = 1_000 * (round + 1);
                book.commit(&position, Some(1), Some(end), round * 5_000);
            }
        }
    }
    assert_eq!(book.pair_count(), 100_000);
    book
}

fn picture(criterion: &mut Criterion) {
    let mut book = filled();
    criterion.bench_function("look, judge and show 100,000 pairs", |bencher| {
        bencher.iter(|| {
            let mut changes = Vec::new();
            book.look(0, usize::MAX, &mut Growing(13), 61_000);
            book.judge(0, usize::MAX, 61_000, &mut changes);
            let mut lag = 0;
            book.show(0, usize::MAX, 61_000, &mut |_, view| lag += view.lag);
            black_box((lag, changes.len()))
        });
    });
    let mut round = 0;
    criterion.bench_function("one commit", |bencher| {
        bencher.iter(|| {
            round += 1;
            let position = Position {
                group: "group-7",
                topic: "orders",
                partition: (round % 100) as i32,
                offset: 12_000 + round,
                at_ms: 61_000 + round,
                source: 0,
            };
            let end = 20_000 + round;
            black_box(book.commit(&position, Some(1), Some(end), 61_000 + round))
        });
    });
}

criterion_group!(benches, picture);
criterion_main!(benches);
