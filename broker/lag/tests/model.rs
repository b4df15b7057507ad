//! The book against a naive model under random commits, removals and looks: the same pairs, offsets and lags, never
//! more pairs than the bound, and nothing left over when all is gone.

use std::collections::BTreeMap;

use ottla_lag::{Book, Ends, Position, Settings, Taken};
use proptest::prelude::*;

const PAIRS_MAX: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Commit {
        group: u8,
        topic: u8,
        partition: u8,
        offset: i64,
    },
    Remove {
        group: u8,
        topic: u8,
        partition: u8,
    },
    ForgetGroup(u8),
    ForgetTopic(u8),
    /// The topic is another one from now on.
    Replace(u8),
    /// Every second pair is told again, the others are silent.
    Hear,
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || (0..4_u8, 0..3_u8, 0..3_u8);
    prop_oneof![
        8 => (ids(), -2..200_i64).prop_map(|((group, topic, partition), offset)| Step::Commit { group, topic, partition, offset }),
        2 => ids().prop_map(|(group, topic, partition)| Step::Remove { group, topic, partition }),
        1 => (0..4_u8).prop_map(Step::ForgetGroup),
        1 => (0..3_u8).prop_map(Step::ForgetTopic),
        1 => (0..3_u8).prop_map(Step::Replace),
        1 => Just(Step::Hear),
        2 => Just(Step::Look),
    ]
}

fn group(number: u8) -> String {
    format!("g{number}")
}

fn topic(number: u8) -> String {
    format!("t{number}")
}

/// Every log ends at 100.
struct Hundred {
    ids: [u128; 3],
    gone: Option<u8>,
}

impl Ends for Hundred {
    fn topic(&mut self, name: &str) -> Result<u128, bool> {
        let number = name[1..].parse::<u8>().map_err(|_| false)?;
        if self.gone == Some(number) { Err(true) } else { Ok(self.ids[usize::from(number)]) }
    }

    fn end(&mut self, _: i32) -> Option<i64> {
        Some(100)
    }
}

/// What the model knows: the offset by group, topic and partition; none where the topic was replaced since.
type Model = BTreeMap<(u8, u8, u8), Option<i64>>;

fn check(book: &Book, model: &Model, now_ms: i64) {
    assert_eq!(book.pair_count(), model.len());
    let groups: std::collections::BTreeSet<u8> = model.keys().map(|(group, ..)| *group).collect();
    assert_eq!(book.group_count(), groups.len());
    let mut seen = 0;
    for number in groups {
        for pair in book.pairs_of(&group(number), now_ms) {
            let key = (number, pair.topic()[1..].parse().unwrap(), pair.partition() as u8);
            assert_eq!(pair.offset(), model[&key], "{key:?}");
            let lag = model[&key].map(|offset| (100 - offset).max(0));
            assert_eq!(pair.lag(), lag, "{key:?}");
            seen += 1;
        }
        let view = book.group(&group(number), now_ms).unwrap();
        let of_group = model.iter().filter(|((one, ..), _)| *one == number);
        let lags: Vec<i64> =
            of_group.map(|(_, offset)| offset.map_or(0, |offset| (100 - offset).max(0))).collect();
        assert_eq!((view.lag, view.lag_max), (lags.iter().sum(), *lags.iter().max().unwrap()));
    }
    assert_eq!(seen, model.len());
    for number in 0..3 {
        let mut named: Vec<String> =
            book.groups_of_topic(&topic(number)).iter().map(ToString::to_string).collect();
        named.sort_unstable();
        let mut expected: Vec<String> =
            model.keys().filter(|(_, one, _)| *one == number).map(|(one, ..)| group(*one)).collect();
        expected.dedup();
        assert_eq!(named, expected);
    }
}

proptest! {
    #[test]
    fn the_book_holds_what_the_model_holds(steps in proptest::collection::vec(step(), 1..80), window in 1..5_usize) {
        let settings = Settings { window, pairs_max: PAIRS_MAX, ..Settings::default() };
        let mut book = Book::new(settings);
        let mut model = Model::new();
        let mut ends = Hundred { ids: [1; 3], gone: None };
        let mut refused = 0;
        for (number, step) in steps.into_iter().enumerate() {
            let now_ms = number as i64 * 700;
            match step {
                Step::Commit { group: g, topic: t, partition: p, offset } => {
                    let (group, topic) = (group(g), topic(t));
                    let position = Position { group: &group, topic: &topic, partition: p.into(), offset, at_ms: now_ms, source: 0 };
                    let id = ends.ids[usize::from(t)];
                    let taken = book.commit(&position, Some(id), Some(100), now_ms);
                    let is_known = model.contains_key(&(g, t, p));
                    if offset < 0 {
                        prop_assert_eq!(taken, Taken::Ignored);
                    } else if !is_known && model.len() == PAIRS_MAX {
                        prop_assert_eq!(taken, Taken::Refused);
                        refused += 1;
                    } else {
                        let is_taken = matches!(taken, Taken::Yes { .. });
                        prop_assert!(is_taken);
                        model.insert((g, t, p), Some(offset));
                    }
                }
                Step::Remove { group: g, topic: t, partition: p } => {
                    let was = model.remove(&(g, t, p)).is_some();
                    prop_assert_eq!(book.remove(&group(g), &topic(t), p.into()), was);
                }
                Step::ForgetGroup(g) => {
                    let before = model.len();
                    model.retain(|(one, ..), _| *one != g);
                    prop_assert_eq!(book.forget_group(&group(g)), model.len() < before);
                }
                Step::ForgetTopic(t) => {
                    ends.gone = Some(t);
                    book.look(0, usize::MAX, &mut ends, now_ms);
                    ends.gone = None;
                    model.retain(|(_, one, _), _| *one != t);
                }
                Step::Replace(t) => {
                    ends.ids[usize::from(t)] += 1;
                    book.look(0, usize::MAX, &mut ends, now_ms);
                    model.iter_mut().filter(|((_, one, _), _)| *one == t).for_each(|(_, offset)| *offset = None);
                }
                Step::Hear => {
                    book.begin_hearing(0);
                    let told: Model = model.iter().step_by(2).filter(|(_, offset)| offset.is_some()).map(|(k, v)| (*k, *v)).collect();
                    for ((g, t, p), offset) in &told {
                        let (group, topic) = (group(*g), topic(*t));
                        let position = Position { group: &group, topic: &topic, partition: (*p).into(), offset: offset.unwrap(), at_ms: now_ms, source: 0 };
                        book.commit(&position, None, None, now_ms);
                    }
                    book.end_hearing(0);
                    model = told;
                }
                Step::Look => {
                    // In slices, as the server does.
                    let mut from = Some(0);
                    while let Some(at) = from {
                        from = book.look(at, 2, &mut ends, now_ms);
                    }
                    let (mut from, mut changes) = (Some(0), Vec::new());
                    while let Some(at) = from {
                        from = book.judge(at, 2, now_ms, &mut changes);
                    }
                    let mut again = Vec::new();
                    book.judge(0, usize::MAX, now_ms, &mut again);
                    prop_assert_eq!(again, vec![], "a change is told once");
                }
            }
            check(&book, &model, now_ms);
            prop_assert_eq!(book.refused(), refused);
        }
    }
}
