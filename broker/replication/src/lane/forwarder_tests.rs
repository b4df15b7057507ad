//! The sequences that a forwarder must survive, one by one. Entries have ten offsets each, in epoch 5 unless said
//! otherwise; `W` is a letter for whoever waits.

use super::*;
use crate::lane::ledger::ProducerKey;

const PRODUCER: ProducerKey = ProducerKey::Id(1);

fn at(epoch: i32, offset: i64) -> Position {
    Position { epoch, offset }
}

fn lane() -> Forwarder<char> {
    lane_from(EpochHistory::new([(5, 0)]), 0, 0)
}

fn lane_from(history: EpochHistory, start: i64, end: i64) -> Forwarder<char> {
    Forwarder::new(Pipeline { groups_max: 2, bytes_max: 1_000 }, history, start, end)
}

fn entry(base: i64) -> LedgerEntry {
    LedgerEntry { base, end: base + 10, bytes: 100, log_end: 0, producer: PRODUCER }
}

/// Appends an entry that is committed at once.
fn append(forwarder: &mut Forwarder<char>, base: i64, destinations: &[i32], who: char) {
    forwarder.on_append(5, entry(base), destinations, Some((AnswerWhen::Committed, who)));
    forwarder.on_watermarks(base + 10, 0);
}

/// Answers the question that the forwarder must ask now.
fn tell(forwarder: &mut Forwarder<char>, held: Option<Position>) -> i32 {
    let Some(Effect::Ask { destination, ticket }) = forwarder.next_effect() else {
        panic!("a question is due")
    };
    forwarder.on_state(destination, ticket, Some(LaneState { held, committed: held }));
    destination
}

fn pass(forwarder: &mut Forwarder<char>) -> (i64, i64, Vec<PassPart>) {
    match forwarder.next_effect() {
        Some(Effect::Pass { from, to, parts }) => (from, to, parts),
        other => panic!("a pass is due, not {other:?}"),
    }
}

/// Builds one group for the part that ends at `position`. What it is to bear as `previous`, if it is to be sent.
fn build(forwarder: &mut Forwarder<char>, part: PassPart, position: Position) -> Option<Option<Position>> {
    let PassPart { destination, ticket, .. } = part;
    let built = BuiltPart { destination, ticket, group: Some((position, 100)), upto: position.offset };
    forwarder.on_built(&[built])[0]
}

fn appended(
    forwarder: &mut Forwarder<char>,
    part: PassPart,
    position: Position,
    committed: Option<Position>,
) {
    forwarder.on_forwarded(part.destination, part.ticket, position, Forwarded::Appended { committed });
}

#[test]
fn only_the_oldest_part_bears_previous_none_and_each_later_one_what_went_before() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    tell(&mut forwarder, None);
    let (_, _, parts) = pass(&mut forwarder);
    assert_eq!(build(&mut forwarder, parts[0], at(5, 10)), Some(None));
    append(&mut forwarder, 10, &[1], 'b');
    let (from, to, parts) = pass(&mut forwarder);
    assert_eq!((from, to), (10, 20), "pipelined: the first is not answered yet");
    assert_eq!(build(&mut forwarder, parts[0], at(5, 20)), Some(Some(at(5, 10))));
    assert_eq!(forwarder.next_effect(), None, "no more than two groups are under way");
    appended(&mut forwarder, parts[0], at(5, 10), Some(at(5, 10)));
    appended(&mut forwarder, parts[0], at(5, 20), Some(at(5, 20)));
    assert_eq!(forwarder.ledger.take_answers(), ['a', 'b']);
}

#[test]
fn one_pass_serves_all_destinations_that_are_ready_and_a_slow_one_holds_none_back() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1, 2], 'a');
    append(&mut forwarder, 10, &[2], 'b');
    tell(&mut forwarder, None);
    let Some(Effect::Ask { destination: 2, ticket }) = forwarder.next_effect() else {
        panic!("a second question")
    };
    let (from, to, parts) = pass(&mut forwarder);
    assert_eq!((from, to, parts.len()), (0, 20, 1), "destination 2 has not answered");
    build(&mut forwarder, parts[0], at(5, 10));
    appended(&mut forwarder, parts[0], at(5, 10), Some(at(5, 10)));
    assert!(forwarder.ledger.take_answers().is_empty(), "a part of the batch is missing");
    forwarder.on_state(2, ticket, Some(LaneState::default()));
    let (from, _, parts) = pass(&mut forwarder);
    assert_eq!((from, parts.len(), parts[0].destination), (0, 1, 2));
    build(&mut forwarder, parts[0], at(5, 20));
    appended(&mut forwarder, parts[0], at(5, 20), Some(at(5, 20)));
    assert_eq!(forwarder.ledger.take_answers(), ['a', 'b']);
}

#[test]
fn only_what_is_committed_in_the_lane_is_forwarded() {
    let mut forwarder = lane();
    let beyond_the_log = LedgerEntry { log_end: 7, ..entry(0) };
    forwarder.on_append(5, beyond_the_log, &[1], Some((AnswerWhen::Appended, 'a')));
    tell(&mut forwarder, None);
    assert_eq!(forwarder.next_effect(), None);
    forwarder.on_watermarks(10, 6);
    assert_eq!(forwarder.next_effect(), None, "the log's watermark has not reached the entry's recorded end");
    forwarder.on_watermarks(9, 7);
    assert_eq!(forwarder.next_effect(), None, "nor the lane's its own, whatever acks says");
    forwarder.on_watermarks(10, 7);
    assert_eq!(pass(&mut forwarder).1, 10);
}

#[test]
fn a_new_leader_asks_and_goes_on_where_the_destination_stands() {
    let mut forwarder = lane_from(EpochHistory::new([(5, 0)]), 0, 30);
    for base in [0, 10, 20] {
        forwarder.on_recovered(entry(base), &[1]);
    }
    forwarder.on_epoch(6);
    forwarder.on_watermarks(30, 0);
    tell(&mut forwarder, Some(at(5, 20)));
    assert!(forwarder.ledger.is_unresolved(20) && !forwarder.ledger.is_unresolved(10));
    let (from, to, parts) = pass(&mut forwarder);
    assert_eq!((from, to), (20, 30));
    assert_eq!(build(&mut forwarder, parts[0], at(5, 30)), Some(Some(at(5, 20))));
}

#[test]
fn a_destination_ahead_of_a_lane_that_lost_its_tail_gets_what_came_instead() {
    let mut forwarder = lane_from(EpochHistory::new([(5, 0)]), 0, 20);
    forwarder.on_recovered(entry(0), &[1]);
    forwarder.on_recovered(entry(10), &[1]);
    forwarder.on_epoch(6);
    // The destination holds up to 40 of epoch 5: two entries of it are lost here, and others take their place.
    forwarder.on_append(6, entry(20), &[1], Some((AnswerWhen::Committed, 'n')));
    forwarder.on_watermarks(30, 0);
    tell(&mut forwarder, Some(at(5, 40)));
    assert!(
        forwarder.ledger.is_unresolved(20),
        "the new entry at 20 is not what the destination holds there"
    );
    let (from, _, parts) = pass(&mut forwarder);
    assert_eq!(from, 20);
    assert_eq!(build(&mut forwarder, parts[0], at(6, 30)), Some(Some(at(5, 40))));
    appended(&mut forwarder, parts[0], at(6, 30), Some(at(6, 30)));
    assert_eq!(forwarder.ledger.take_answers(), ['n']);
    assert_eq!(forwarder.stats().losses, 0);
}

#[test]
fn a_position_before_the_lanes_start_is_adopted_and_counted_as_a_loss_if_more_was_confirmed() {
    for (confirmed, losses) in [(Some(at(5, 90)), 1), (Some(at(5, 40)), 0), (None, 0)] {
        let mut forwarder = lane_from(EpochHistory::new([(5, 0)]), 100, 110);
        forwarder.on_recovered_checkpoint(confirmed.map(|position| (1, position)));
        forwarder.on_recovered(entry(100), &[1]);
        forwarder.on_watermarks(110, 0);
        tell(&mut forwarder, Some(at(5, 40)));
        let (from, _, parts) = pass(&mut forwarder);
        assert_eq!(from, 100);
        assert_eq!(build(&mut forwarder, parts[0], at(5, 110)), Some(Some(at(5, 40))));
        assert_eq!(forwarder.stats().losses, losses, "{confirmed:?}");
    }
}

#[test]
fn what_a_destination_lost_and_the_lane_still_has_is_sent_again() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    append(&mut forwarder, 10, &[1], 'b');
    tell(&mut forwarder, None);
    let (_, _, parts) = pass(&mut forwarder);
    build(&mut forwarder, parts[0], at(5, 20));
    appended(&mut forwarder, parts[0], at(5, 20), Some(at(5, 20)));
    assert_eq!(forwarder.trim_point(), 20);
    append(&mut forwarder, 20, &[1], 'c');
    let (_, _, parts) = pass(&mut forwarder);
    build(&mut forwarder, parts[0], at(5, 30));
    let back_at_10 = LaneState { held: Some(at(5, 10)), committed: Some(at(5, 10)) };
    forwarder.on_forwarded(1, parts[0].ticket, at(5, 30), Forwarded::Holds(back_at_10));
    assert_eq!(forwarder.trim_point(), 10, "it is needed again");
    let (from, to, parts) = pass(&mut forwarder);
    assert_eq!((from, to), (10, 30));
    assert_eq!(build(&mut forwarder, parts[0], at(5, 30)), Some(Some(at(5, 10))));
    assert_eq!(forwarder.trim_point(), 10, "and until it is there");
    appended(&mut forwarder, parts[0], at(5, 30), Some(at(5, 30)));
    assert_eq!((forwarder.trim_point(), forwarder.stats().losses), (30, 0));
}

#[test]
fn a_repeated_forward_is_counted_and_changes_nothing() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    tell(&mut forwarder, None);
    let (_, _, parts) = pass(&mut forwarder);
    build(&mut forwarder, parts[0], at(5, 10));
    let held = LaneState { held: Some(at(5, 10)), committed: Some(at(5, 10)) };
    forwarder.on_forwarded(1, parts[0].ticket, at(5, 10), Forwarded::Holds(held));
    assert_eq!(forwarder.ledger.take_answers(), ['a']);
    assert_eq!((forwarder.stats().suppressed, forwarder.next_effect()), (1, None));
}

#[test]
fn after_a_refusal_nothing_is_believed_until_the_destination_was_asked() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    append(&mut forwarder, 10, &[1], 'b');
    tell(&mut forwarder, None);
    let (_, _, parts) = pass(&mut forwarder);
    build(&mut forwarder, parts[0], at(5, 10));
    let (_, _, second) = pass(&mut forwarder);
    build(&mut forwarder, second[0], at(5, 20));
    forwarder.on_forwarded(1, parts[0].ticket, at(5, 10), Forwarded::Refused);
    let Some(Effect::Pause { destination: 1, ticket, attempt: 1 }) = forwarder.next_effect() else {
        panic!("a pause is due")
    };
    // The second group's answer belongs to what was believed before.
    appended(&mut forwarder, second[0], at(5, 20), Some(at(5, 20)));
    assert!(forwarder.ledger.take_answers().is_empty());
    assert_eq!(forwarder.next_effect(), None);
    forwarder.on_retry(1, ticket);
    tell(&mut forwarder, Some(at(5, 20)));
    assert_eq!(forwarder.ledger.take_answers(), ['a', 'b']);
}

#[test]
fn a_destination_that_does_not_answer_is_paused_for_longer_and_longer() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    for expected in 1..4 {
        let Some(Effect::Ask { destination, ticket }) = forwarder.next_effect() else {
            panic!("a question is due")
        };
        forwarder.on_state(destination, ticket, None);
        let Some(Effect::Pause { ticket, attempt, .. }) = forwarder.next_effect() else {
            panic!("a pause is due")
        };
        assert_eq!(attempt, expected);
        forwarder.on_retry(destination, ticket);
    }
}

#[test]
fn a_group_built_for_what_was_believed_before_is_not_sent() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    tell(&mut forwarder, None);
    let (_, _, first) = pass(&mut forwarder);
    build(&mut forwarder, first[0], at(5, 10));
    append(&mut forwarder, 10, &[1], 'b');
    let (_, _, second) = pass(&mut forwarder);
    forwarder.on_forwarded(1, first[0].ticket, at(5, 10), Forwarded::Refused);
    assert_eq!(build(&mut forwarder, second[0], at(5, 20)), None);
}

#[test]
fn a_commit_that_will_not_come_is_asked_for_anew() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    tell(&mut forwarder, None);
    let (_, _, parts) = pass(&mut forwarder);
    build(&mut forwarder, parts[0], at(5, 10));
    appended(&mut forwarder, parts[0], at(5, 10), None);
    assert_eq!(forwarder.next_effect(), None, "appended, and waiting for the destination's watermark");
    forwarder.on_commit_lost(1);
    let Some(Effect::Pause { destination, ticket, .. }) = forwarder.next_effect() else {
        panic!("a pause is due")
    };
    forwarder.on_retry(destination, ticket);
    tell(&mut forwarder, Some(at(5, 10)));
    assert_eq!(forwarder.ledger.take_answers(), ['a']);
}

#[test]
fn nothing_unresolved_is_trimmed_and_a_checkpoint_moves_no_answer() {
    let mut forwarder = lane();
    append(&mut forwarder, 0, &[1], 'a');
    append(&mut forwarder, 10, &[2], 'b');
    assert_eq!(tell(&mut forwarder, None), 1);
    assert_eq!(tell(&mut forwarder, None), 2);
    let (_, _, parts) = pass(&mut forwarder);
    let built: Vec<BuiltPart> = parts
        .iter()
        .map(|part| BuiltPart {
            destination: part.destination,
            ticket: part.ticket,
            group: Some((at(5, if part.destination == 1 { 10 } else { 20 }), 100)),
            upto: 20,
        })
        .collect();
    assert_eq!(forwarder.on_built(&built), [Some(None), Some(None)]);
    appended(&mut forwarder, parts[1], at(5, 20), Some(at(5, 20)));
    assert_eq!(forwarder.trim_point(), 0, "the first entry is not resolved");
    appended(&mut forwarder, parts[0], at(5, 10), Some(at(5, 10)));
    assert_eq!(forwarder.trim_point(), 20);
    forwarder.on_checkpoint(5, 20, 21);
    forwarder.on_watermarks(21, 0);
    forwarder.on_trimmed(20);
    assert_eq!(forwarder.confirmed().collect::<Vec<_>>(), [(1, at(5, 10)), (2, at(5, 20))]);
    assert_eq!((forwarder.trim_point(), forwarder.next_effect()), (21, None));
}
