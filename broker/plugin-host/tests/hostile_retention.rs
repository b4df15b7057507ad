//! A retention policy per kind of misbehaviour: each is contained and reported, and no verdict comes of it, so that the
//! data stays.

mod support;

use std::sync::Arc;

use ottla_plugin_host::{
    AttachError, BreakerState, CallError, Columns, Fields, Host, Judgement, Kind, Limits, Progress,
    RecordVerdict, Retention, SegmentVerdict, SegmentView, Step, Topic, Usage,
};
use support::*;

/// What stands in each module: memory, the log, a bump allocator that each call's end empties. `$records_ok` holds
/// `all(keep)` and no time.
const COMMON: &str = r#"
  (import "ottla:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 16)
  (global $top (mut i32) (i32.const 65536))
  (global $records_ok i32 (i32.const 1024))
  (data (i32.const 512) "something went wrong")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 64)))))
    (local.get $at))
"#;

/// The functions of an interface. The body of `judge` returns a pointer to its result; `$count` is the number of
/// records or segments.
fn interface(name: &str, configure: &str, judge: &str) -> String {
    let (params, count) = match name {
        "retain-records" => ("(param $args i32)", "(i32.load (local.get $args))"),
        _ => {
            ("(param i32 i64 i64 i64 i32) (param $segments i32) (param i32 i32 i64)", "(local.get $segments)")
        }
    };
    format!(
        r#"
  (func (export "ottla:plugin/{name}@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {configure})
  (func (export "cabi_post_ottla:plugin/{name}@0.1.0#configure") (param i32)
    (global.set $top (i32.const 65536)))
  (func (export "ottla:plugin/{name}@0.1.0#judge") {params} (result i32) (local $count i32)
    (local.set $count {count})
    {judge})
  (func (export "cabi_post_ottla:plugin/{name}@0.1.0#judge") (param i32)
    (global.set $top (i32.const 65536)))
"#
    )
}

/// Keeps all segments.
const SEGMENTS_OK: &str =
    "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2052) (i32.const 4096))
    (i32.store (i32.const 2056) (local.get $count)) (i32.const 2048)";

/// A policy of records that behaves for every call but those of three records, which no warm-up has.
fn records_unless_three(hostile: &str) -> Vec<u8> {
    let judge = format!(
        "(if (result i32) (i32.eq (local.get $count) (i32.const 3)) (then {hostile}) \
         (else (global.get $records_ok)))"
    );
    let functions = interface("retain-records", "(i32.const 1024)", &judge);
    component_in("record-retention", &format!("(module {COMMON} {functions})"))
}

/// Likewise for segments.
fn segments_unless_three(world: &str, hostile: &str) -> Vec<u8> {
    let judge = format!(
        "(if (result i32) (i32.eq (local.get $count) (i32.const 3)) (then {hostile}) (else {SEGMENTS_OK}))"
    );
    let mut functions = interface("retain-segments", "(i32.const 1024)", &judge);
    if world == "retention" {
        functions += &interface("retain-records", "(i32.const 1024)", "(global.get $records_ok)");
    }
    component_in(world, &format!("(module {COMMON} {functions})"))
}

fn try_attach(host: &Host, component: &[u8]) -> Result<Retention, AttachError> {
    let compiled = host.compile(component).unwrap();
    let topic = Topic { name: "orders".into(), ..Topic::default() };
    host.attach_retention(&compiled, identity(component), topic, "{}", Arc::new(Lines::default()))
}

fn policy(host: &Host, component: &[u8]) -> Retention {
    try_attach(host, component).unwrap()
}

fn records(count: u32) -> Columns {
    Columns { count, ..Columns::new() }
}

fn segments(count: usize) -> Vec<SegmentView> {
    vec![SegmentView::default(); count]
}

fn kept(count: usize) -> Judgement {
    Judgement { verdicts: vec![RecordVerdict::Keep; count], again_ms: None }
}

/// The error on three records of a policy that works otherwise.
fn error_of(hostile: &str) -> (CallError, String) {
    let host = host();
    let plugin = policy(&host, &records_unless_three(hostile));
    assert_eq!(plugin.judge_records(&records(2), 0), Ok(kept(2)));
    let error = plugin.judge_records(&records(3), 0).unwrap_err();
    let sentence = plugin.describe(&error);
    assert!(sentence.starts_with("plugin test@1.2.3 on topic orders: "), "{sentence}");
    assert_eq!(plugin.stats().instances_dropped, 1);
    assert_eq!(plugin.judge_records(&records(2), 0), Ok(kept(2)), "a new instance serves");
    (error, sentence)
}

/// Writes the answer `each` with this pointer and length, and no time.
fn each(pointer: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2056) (i32.const 1))
         (i32.store (i32.const 2060) (i32.const {pointer})) (i32.store (i32.const 2064) (i32.const {length}))
         (i32.store (i32.const 2072) (i32.const 0)) (i32.const 2048)"
    )
}

/// Writes a list of segment verdicts.
fn list(pointer: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2052) (i32.const {pointer}))
         (i32.store (i32.const 2056) (i32.const {length})) (i32.const 2048)"
    )
}

#[test]
fn an_endless_loop_runs_out_of_time() {
    let (error, sentence) = error_of("(loop $again (br $again)) (unreachable)");
    assert_eq!(error, CallError::Timeout);
    assert!(sentence.contains("50 ms (ottla.plugin.batch.time.ms)"), "{sentence}");
}

#[test]
fn allocation_without_end_meets_the_limit() {
    let (error, sentence) = error_of(
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)",
    );
    assert!(matches!(error, CallError::Trap(_)));
    assert!(sentence.contains("16777216 bytes (ottla.plugin.memory.bytes)"), "{sentence}");
}

#[test]
fn a_panic_is_reported_with_the_last_words() {
    let (error, sentence) =
        error_of("(call $log (i32.const 3) (i32.const 512) (i32.const 20)) (unreachable)");
    assert!(matches!(error, CallError::Trap(_)));
    assert!(sentence.ends_with("its last words: something went wrong"), "{sentence}");
}

#[test]
fn wrong_answers_about_records_are_refused() {
    for (answer, words) in [
        (each(4096, 2), "2 records of 3"),
        (each(4096, 4), "4 records of 3"),
        (each(0xffff_0000, 3), "out of bounds"),
        // The text of the log line is no verdict.
        (each(512, 3), "verdict on record 0 is 115"),
        // A case that the variant does not have.
        (
            format!("(drop {}) (i32.store8 (i32.const 2056) (i32.const 7)) (i32.const 2048)", each(4096, 3)),
            "",
        ),
    ] {
        let (error, _) = error_of(&answer);
        assert!(matches!(&error, CallError::BadAnswer(reason) if reason.contains(words)), "{error:?}");
    }
    let huge = Limits { memory_bytes: 2 << 30, ..limits() };
    let answer = format!("(drop (memory.grow (i32.const 16384))) {}", each(1 << 20, 500_000_000));
    let host = host_with(huge);
    let plugin = policy(&host, &records_unless_three(&answer));
    let error = plugin.judge_records(&records(3), 0).unwrap_err();
    assert!(matches!(&error, CallError::BadAnswer(reason) if reason.contains("ottla.plugin.result.bytes")));
}

#[test]
fn a_failure_of_one_part_leaves_no_verdict_on_any() {
    let host = host();
    // 4096 records are one call, so that the second has three.
    let plugin = policy(&host, &records_unless_three("(unreachable)"));
    assert!(matches!(plugin.judge_records(&records(4096 + 3), 0), Err(CallError::Trap(_))));
    assert_eq!(plugin.judge_records(&records(4096 + 4), 0), Ok(kept(4100)));
}

#[test]
fn wrong_answers_about_segments_are_refused() {
    let ask = format!("(i32.store8 (i32.const 4097) (i32.const 2)) {}", list(4096, 3));
    let host = host();
    for (answer, words) in [
        (list(4096, 2), "2 segments of 3"),
        (list(4096, 4), "4 segments of 3"),
        (list(0xffff_0000, 3), "out of bounds"),
        (list(512, 3), ""),
        (ask.clone(), "`ask` for segment 1"),
    ] {
        let plugin = policy(&host, &segments_unless_three("segment-retention", &answer));
        let judge = |count| plugin.judge_segments(&Usage::default(), &segments(count), &[], 0);
        assert_eq!(judge(2), Ok(vec![SegmentVerdict::Keep; 2]));
        let error = judge(3).unwrap_err();
        assert!(matches!(&error, CallError::BadAnswer(reason) if reason.contains(words)), "{error:?}");
        assert_eq!(plugin.stats().instances_dropped, 1);
    }
    // The same answer is right where the component answers for records too.
    let plugin = policy(&host, &segments_unless_three("retention", &ask));
    let verdicts = plugin.judge_segments(&Usage::default(), &segments(3), &[], 0).unwrap();
    assert_eq!(verdicts, [SegmentVerdict::Keep, SegmentVerdict::Ask, SegmentVerdict::Keep]);
}

#[test]
fn segments_that_loop_or_are_too_many_keep_everything() {
    let host = host();
    let looping = "(loop $again (br $again)) (unreachable)";
    let plugin = policy(&host, &segments_unless_three("segment-retention", looping));
    let judge =
        |count, groups: &[Progress]| plugin.judge_segments(&Usage::default(), &segments(count), groups, 0);
    assert_eq!(judge(3, &[]), Err(CallError::Timeout));
    assert!(
        matches!(judge(65_537, &[]), Err(CallError::Failed(reason)) if reason.contains("65537 segments"))
    );
    let groups = vec![Progress::default(); 65_537];
    assert!(matches!(judge(2, &groups), Err(CallError::Failed(reason)) if reason.contains("65537 groups")));
    assert_eq!(judge(2, &[]), Ok(vec![SegmentVerdict::Keep; 2]));
}

#[test]
fn kinds_say_what_is_asked() {
    let host = host();
    let plugin = policy(&host, &records_unless_three("(unreachable)"));
    assert!(plugin.judges_records() && !plugin.judges_segments());
    let asked = plugin.judge_segments(&Usage::default(), &segments(3), &[], 0);
    assert_eq!(asked, Ok(vec![SegmentVerdict::Ask; 3]), "nobody was called");

    let plugin = policy(&host, &segments_unless_three("segment-retention", "(unreachable)"));
    assert!(plugin.judges_segments() && !plugin.judges_records());
    assert_eq!(plugin.fields(), Fields::NONE);
    assert!(matches!(plugin.judge_records(&records(1), 0), Err(CallError::Failed(_))));
    assert_eq!(plugin.judge_records(&records(0), 0).unwrap().verdicts, []);
}

#[test]
fn a_policy_that_fails_again_and_again_rests() {
    let host = host();
    let plugin = policy(&host, &records_unless_three("(unreachable)"));
    for _ in 0..3 {
        assert!(matches!(plugin.judge_records(&records(3), 0), Err(CallError::Trap(_))));
    }
    let error = plugin.judge_records(&records(2), 0).unwrap_err();
    assert!(matches!(error, CallError::BreakerOpen { .. }));
    assert!(plugin.describe(&error).contains("the last failure: trap"), "{}", plugin.describe(&error));
    let stats = plugin.stats();
    assert_eq!((stats.breaker, stats.errors_trap, stats.errors_breaker_open), (BreakerState::Open, 3, 1));
    assert_eq!((stats.calls, stats.records), (3, 9));
}

#[test]
fn what_breaks_down_in_the_warm_up_is_not_attached() {
    let host = host();
    let refused = |component: &[u8]| try_attach(&host, component).err().unwrap();
    for (name, world, judge) in [
        ("retain-records", "record-retention", "(unreachable)"),
        ("retain-records", "record-retention", &*each(4096, 7)),
        ("retain-segments", "segment-retention", "(unreachable)"),
        ("retain-segments", "segment-retention", &*list(4096, 7)),
    ] {
        let functions = interface(name, "(i32.const 1024)", judge);
        let error = refused(&component_in(world, &format!("(module {COMMON} {functions})")));
        assert_eq!(error.step, Step::WarmUp, "{error}");
    }
    let no = "(i32.store (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 512))
              (i32.store (i32.const 2056) (i32.const 20)) (i32.const 2048)";
    for name in ["retain-segments", "retain-records"] {
        let of = |other: &str| if other == name { no } else { "(i32.const 1024)" };
        let functions = interface("retain-segments", of("retain-segments"), SEGMENTS_OK)
            + &interface("retain-records", of("retain-records"), "(global.get $records_ok)");
        let error = refused(&component_in("retention", &format!("(module {COMMON} {functions})")));
        assert_eq!((error.step, error.reason.as_str()), (Step::Configure, "something went wrong"));
    }
}

#[test]
fn a_component_of_another_kind_is_named_as_what_it_is() {
    let host = host();
    let partitioner = behaves_unless_three("(unreachable)", "");
    let error = try_attach(&host, &partitioner).err().unwrap();
    assert_eq!(error.step, Step::Validate);
    assert!(error.reason.contains("exports partition-keys") && error.reason.contains("ottla.retention"));

    let retention = records_unless_three("(unreachable)");
    let compiled = host.compile(&retention).unwrap();
    assert_eq!(compiled.kinds(), [Kind::RetainRecords]);
    let error = attach_to(&host, &retention, topic(4), "{}", Arc::new(Lines::default())).err().unwrap();
    assert_eq!(error.step, Step::Validate);
    assert!(error.reason.contains("exports retain-records") && error.reason.contains("ottla.partitioner"));
}
