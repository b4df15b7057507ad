//! The verdict finds each kind of wrong: a run without fault passes, and with any one fault it does not.

use super::super::lanes::Placed;
use super::super::workload::{KEYS, PARTITIONS};
use super::*;

const SHARE: u32 = 8;
const LOST: u32 = 1;
const NO_RULE: [u8; 64] = [b'0'; 64];

fn component() -> String {
    "ab".repeat(32)
}

fn rule(share: u32) -> String {
    rule_digest(&component(), &config(share)).unwrap()
}

fn named(producer: u32, index: u64) -> Name {
    Name { producer, index }
}

fn name(index: u64) -> Name {
    named(0, index)
}

fn destination(name: Name) -> i32 {
    place(name.key().as_bytes(), SHARE)
}

/// Two records of each key of producer 0, some of producer 1 that never came back, one entry for each, and nothing
/// wrong.
fn sound() -> Evidence {
    let mut partitions: Vec<Vec<Read>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
    let mut lanes = Vec::new();
    let of_the_lost = (0..10).map(|index| named(LOST, index));
    for name in (0..2 * KEYS).map(name).chain(of_the_lost) {
        let reads = &mut partitions[destination(name) as usize];
        let offset = reads.len() as i64;
        reads.push(Read { offset, name, created_ms: 10, forwarded: true });
        lanes.push(Recorded {
            ingress: ingress(name.key().as_bytes()),
            at_ms: 20,
            rule: rule(SHARE),
            records: vec![Placed { name, created_ms: 10, destination: destination(name) }],
        });
    }
    let switch = |share, at_ms| Switch {
        at_ms,
        config: config(share),
        digest: component(),
        rule: rule(share),
        offsets: vec![],
    };
    Evidence {
        // Of the one that was lost, some were acknowledged.
        acknowledged: BTreeMap::from([(0, (0..2 * KEYS).collect()), (LOST, vec![0, 1, 2])]),
        lost: BTreeSet::from([LOST]),
        records: 2 * KEYS,
        partitions,
        lanes,
        switches: vec![switch(3, 0), switch(SHARE, 5), switch(2, 30)],
        asked: [(3, 1), (SHARE, 6), (2, 31)].map(|(share, answered_ms)| Asked { share, answered_ms }).into(),
        counters: BTreeMap::from([
            ("ottla_plugin_moved_records_total".to_owned(), 2.0 * KEYS as f64),
            ("ottla_produce_duplicates_total".to_owned(), 1.0),
        ]),
        kills: 10,
        failpoints: vec![],
    }
}

/// Partition and place of a record.
fn of(run: &Evidence, name: Name) -> (usize, usize) {
    let partition = destination(name) as usize;
    (partition, run.partitions[partition].iter().position(|read| read.name == name).unwrap())
}

fn again(run: &mut Evidence, name: Name, forwarded: bool) {
    let (partition, _) = of(run, name);
    run.partitions[partition].push(Read { offset: 900, name, created_ms: 10, forwarded });
}

fn gone(run: &mut Evidence, name: Name) {
    let (partition, at) = of(run, name);
    run.partitions[partition].remove(at);
}

type Wrong = (&'static str, fn(&mut Evidence));

/// What is read out of the partitions.
const READ: [Wrong; 8] = [
    ("there twice", |run| again(run, name(7), false)),
    ("there twice", |run| again(run, name(7), true)),
    // Never acknowledged, by a client that never came back: at most once all the same.
    ("there twice", |run| again(run, named(LOST, 7), true)),
    ("was never written", |run| {
        let (partition, _) = of(run, name(7));
        run.partitions[partition].push(Read {
            offset: 900,
            name: named(9, 7),
            created_ms: 10,
            forwarded: false,
        });
    }),
    ("1 acknowledged records are missing, the first: record 7 of producer 0", |run| gone(run, name(7))),
    ("1 acknowledged records are missing, the first: record 1 of producer 1", |run| {
        gone(run, named(LOST, 1))
    }),
    ("has 799 of 800 acknowledged", |run| {
        run.acknowledged.get_mut(&0).unwrap().pop();
    }),
    ("behind record 407 of its key", |run| {
        let (partition, first) = of(run, name(7));
        let (_, second) = of(run, name(7 + KEYS));
        run.partitions[partition].swap(first, second);
    }),
];

/// What lanes recorded, against what is read.
const RECORDED: [Wrong; 8] = [
    ("its lane says", |run| {
        let (partition, at) = of(run, name(7));
        let read = run.partitions[partition].remove(at);
        run.partitions[(partition + 1) % 10].insert(0, read);
    }),
    ("against the share 8 that its lane recorded", |run| {
        let first = run.lanes[7].records[0].destination;
        run.lanes[7].records[0].destination = (first + 1) % PARTITIONS;
    }),
    // A partition that another share in force at that time allows, and the recorded one forbids.
    ("against the share 2 that its lane recorded", |run| {
        let astray = run.lanes.iter_mut().find(|entry| {
            let one = &entry.records[0];
            place(one.name.key().as_bytes(), 2) != one.destination
        });
        astray.unwrap().rule = rule(2);
    }),
    ("which nobody set", |run| run.lanes[7].rule = rule(5)),
    ("which nobody set", |run| run.lanes[7].rule = String::from_utf8_lossy(&NO_RULE).into_owned()),
    ("while it was not in force", |run| run.switches[1].at_ms = 21),
    ("lanes took a record twice", |run| {
        let Recorded { ingress, at_ms, rule, records } = &run.lanes[7];
        let Placed { name, created_ms, destination } = records[0];
        let records = vec![Placed { name, created_ms, destination }];
        run.lanes.push(Recorded { ingress: *ingress, at_ms: *at_ms, rule: rule.clone(), records });
    }),
    ("is in a lane, and never arrived", |run| gone(run, named(LOST, 7))),
];

/// Records that no lane recorded, the history, and the counters.
const REST: [Wrong; 6] = [
    ("out of a lane that did not record it", |run| drop(run.lanes.remove(7))),
    ("without a lane", |run| {
        let moved = run.lanes.iter().position(|entry| entry.records[0].destination != entry.ingress).unwrap();
        let entry = run.lanes.remove(moved);
        let (partition, at) = of(run, entry.records[0].name);
        run.partitions[partition][at].forwarded = false;
    }),
    ("against every share that was in force", |run| {
        // At the partition that its client named, where no share of the run wants it.
        let name = (0..2 * KEYS).map(name).find(|name| {
            let key = name.key();
            [3, SHARE, 2].iter().all(|&share| place(key.as_bytes(), share) != ingress(key.as_bytes()))
        });
        let name = name.unwrap();
        run.lanes.retain(|entry| entry.records[0].name != name);
        let (partition, at) = of(run, name);
        let read = Read { forwarded: false, ..run.partitions[partition].remove(at) };
        run.partitions[ingress(name.key().as_bytes()) as usize].insert(0, read);
    }),
    ("no switch to the share of reload 2", |run| drop(run.switches.pop())),
    ("the history calls", |run| run.switches[1].rule = rule(3)),
    ("proves nothing", |run| {
        run.counters.remove("ottla_produce_duplicates_total");
    }),
];

#[test]
fn a_sound_run_passes() {
    let summary = sound().judge().unwrap();
    assert_eq!((summary.records, summary.in_lanes, summary.rules), (810, 810, 1));
    assert_eq!((summary.acknowledged, summary.kills, summary.reloads, summary.suppressed), (803, 10, 2, 1));
}

#[test]
fn whatever_is_wrong_is_found() {
    for (words, wrong) in READ.iter().chain(&RECORDED).chain(&REST) {
        let mut run = sound();
        wrong(&mut run);
        let error = format!("{:#}", run.judge().expect_err(words));
        assert!(error.contains(words), "{words}: {error}");
    }
    let mut few = sound();
    few.counters.insert("ottla_plugin_moved_records_total".to_owned(), 1.0);
    assert!(few.judge().unwrap_err().to_string().contains("the metrics saw 1 records move"));
}
