//! What groups cost: a commit and a heartbeat among 10,000 groups of one member, what such a group holds in memory, and
//! a rebalance of large groups. `cargo bench -p ottla-coordinator` prints them; the goals are 2 us a commit, a few KB a
//! group, and a rebalance that grows with the members, not with their square.

#[path = "../tests/support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ottla_coordinator::api::*;
use ottla_coordinator::*;
use support::*;

const GROUPS: usize = 10_000;

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decides and settles, as the driver does; the log is elsewhere.
fn ask(world: &mut World, request: Request) -> Settled {
    let step = world.shard.handle(Token(1), request, &world.table, world.now);
    world.shard.settle(step, Ok(()), &world.table, world.now)
}

fn small_groups(criterion: &mut Criterion) {
    let mut world = World::new();
    let before = HELD.load(Ordering::Relaxed);
    let members: Vec<(String, String)> = (0..GROUPS)
        .map(|index| {
            let name = format!("group-{index}");
            let member = stable(&mut world, &name, 1).remove(0);
            world.ask(member_commit(&name, &member, 1));
            world.log.clear();
            world.changes.clear();
            (name, member)
        })
        .collect();
    let names: usize = members.iter().map(|(name, member)| name.capacity() + member.capacity() + 48).sum();
    let held = HELD.load(Ordering::Relaxed) - before - names;
    println!("a group of one member with one offset holds {} bytes", held / GROUPS);

    let commits: Vec<Request> =
        members.iter().map(|(name, member)| member_commit(name, member, 1).into()).collect();
    let mut next = 0;
    criterion.bench_function("a commit of one offset", |bencher| {
        bencher.iter_batched(
            || {
                next = (next + 7919) % GROUPS;
                commits[next].clone()
            },
            |commit| ask(&mut world, black_box(commit)),
            criterion::BatchSize::SmallInput,
        );
    });
    let beats: Vec<Request> = members.iter().map(|(name, member)| beat(name, member, 1).into()).collect();
    criterion.bench_function("a heartbeat", |bencher| {
        bencher.iter_batched(
            || {
                next = (next + 7919) % GROUPS;
                beats[next].clone()
            },
            |beat| ask(&mut world, black_box(beat)),
            criterion::BatchSize::SmallInput,
        );
    });
    criterion.bench_function("what a topic's retention asks of 10,000 groups", |bencher| {
        bencher.iter(|| black_box(world.shard.progress("t")));
    });
}

/// One member joins a group of `members`: all join and sync again.
fn rebalance(members: usize) -> Duration {
    let mut world = World::new();
    let ids = stable(&mut world, "g", members);
    let since = Instant::now();
    let new = world.send(join("g", ""));
    let leader = world.send(join("g", &ids[0]));
    for id in &ids[1..] {
        world.send(join("g", id));
    }
    let new: Joined = world.answer(new).expect("all have joined");
    let led: Joined = world.answer(leader).expect("all have joined");
    assert_eq!((new.generation, led.members.len()), (2, members + 1));
    for id in ids[1..].iter().chain([&new.member]) {
        world.send(sync("g", id, 2, &[]));
    }
    let given: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "an assignment")).collect();
    world.ask(sync("g", &ids[0], 2, &given));
    since.elapsed()
}

fn large_groups(_: &mut Criterion) {
    for members in [1_000, 10_000] {
        let best = (0..5).map(|_| rebalance(members)).min().unwrap_or_default();
        println!("a rebalance of {members} members after one more joined: {best:?}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = small_groups, large_groups
}
criterion_main!(benches);
