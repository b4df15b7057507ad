//! Random interleavings of the lane's state machines against what must be true: producers append and repeat
//! themselves, partitions stop and start, messages are lost, late, doubled and out of order, destinations go away,
//! watermarks lag, segments are trimmed, and rules change. The parts are the ones that run in production; disks and
//! the network are lists. A failing seed is printed, and `OTTLA_SIMULATION_SEED` runs it alone;
//! `OTTLA_SIMULATION_RUNS` asks for more runs, or fewer.

mod node;
mod producer;
mod random;
mod world;

use world::{Faults, World};

fn run(seed: u64, faults: Faults) {
    let outcome = std::panic::catch_unwind(|| World::new(seed, faults).run());
    if let Err(panic) = outcome {
        eprintln!("simulation failed: OTTLA_SIMULATION_SEED={seed}, {faults:?}");
        std::panic::resume_unwind(panic);
    }
}

fn run_many(runs: u64, faults: Faults) {
    if let Ok(seed) = std::env::var("OTTLA_SIMULATION_SEED") {
        return run(seed.parse().expect("the seed is a number"), faults);
    }
    let asked = std::env::var("OTTLA_SIMULATION_RUNS").ok().and_then(|runs| runs.parse().ok());
    let runs: u64 = asked.unwrap_or(runs);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (thread..runs).step_by(threads as usize).for_each(|seed| run(seed, faults)));
        }
    });
}

/// With crashes that leave the page cache: everything accepted is where it belongs, once and in order.
#[test]
fn every_accepted_record_is_at_its_destination_once_and_in_order() {
    run_many(100_000, Faults::Crashes);
}

/// With power losses too: nothing is doubled that was not sent twice, and what the lanes still hold is repaired.
#[test]
fn after_lost_tails_lanes_and_destinations_find_together_again() {
    run_many(50_000, Faults::PowerLosses);
}
