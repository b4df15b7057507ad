//! A component per kind of misbehaviour: each is contained, and reported with plugin, version, topic and reason.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_plugin_host::{BreakerState, CallError, Level, Limits, Partitions, Placement, Step};
use support::*;

/// Attaches a plugin that misbehaves on batches of three, shows that it works otherwise, and returns its error.
fn error_of(hostile: &str, more: &str) -> (CallError, String) {
    error_under(limits(), hostile, more)
}

fn error_under(limits: Limits, hostile: &str, more: &str) -> (CallError, String) {
    let host = host_with(limits);
    let plugin = attach(&host, &behaves_unless_three(hostile, more));
    assert_eq!(plugin.partition(1, &nulls(2)), Ok(Placement::Stay));
    let error = plugin.partition(1, &nulls(3)).unwrap_err();
    let sentence = plugin.describe(&error);
    assert!(sentence.starts_with("plugin test@1.2.3 on topic orders: "), "{sentence}");
    assert_eq!(plugin.stats().instances_dropped, 1);
    assert_eq!(plugin.partition(1, &nulls(2)), Ok(Placement::Stay), "a new instance serves");
    (error, sentence)
}

#[test]
fn an_endless_loop_runs_out_of_time() {
    let (error, sentence) = error_of("(loop $again (br $again)) (unreachable)", "");
    assert_eq!(error, CallError::Timeout);
    assert!(sentence.contains("50 ms (ottla.plugin.batch.time.ms)"), "{sentence}");
}

#[test]
fn allocation_without_end_meets_the_limit() {
    let (error, sentence) = error_of(
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)",
        "",
    );
    assert!(matches!(error, CallError::Trap(_)));
    assert!(sentence.contains("16777216 bytes (ottla.plugin.memory.bytes)"), "{sentence}");
}

#[test]
fn tables_without_end_meet_the_same_limit() {
    let table = "(loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 100000)) \
                 (i32.const -1)))) (unreachable)";
    let patient = Limits { batch_time_ms: 10_000, ..limits() };
    let (error, sentence) = error_under(patient, table, "(table $t 1 funcref)");
    assert!(matches!(error, CallError::Trap(_)));
    assert!(sentence.contains("ottla.plugin.memory.bytes"), "{sentence}");
}

#[test]
fn deep_recursion_ends_with_the_stack() {
    let deep = "(func $deep (param i32) (result i32) \
                (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))";
    let (error, _) = error_of("(call $deep (i32.const 0))", deep);
    assert!(matches!(&error, CallError::Trap(reason) if reason.contains("stack")), "{error:?}");
}

#[test]
fn a_panic_is_reported_with_the_last_words() {
    let (error, sentence) =
        error_of("(call $log (i32.const 3) (i32.const 512) (i32.const 20)) (unreachable)", "");
    assert!(matches!(error, CallError::Trap(_)));
    assert!(sentence.contains("panicked") && sentence.ends_with("its last words: something went wrong"));
}

/// Writes an answer of `each` with this pointer and length.
fn each(pointer: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2052) (i32.const 2))
         (i32.store (i32.const 2056) (i32.const {pointer})) (i32.store (i32.const 2060) (i32.const {length}))
         (i32.const 2048)"
    )
}

#[test]
fn a_result_of_the_wrong_length_is_refused() {
    let (error, _) = error_of(&each(4096, 2), "");
    assert_eq!(error, CallError::BadAnswer("it placed 2 records of 3".into()));
}

#[test]
fn a_partition_out_of_range_is_refused() {
    let answer = format!("(i32.store (i32.const 4096) (i32.const 4)) {}", each(4096, 3));
    let (error, _) = error_of(&answer, "");
    assert!(
        matches!(&error, CallError::BadAnswer(reason) if reason.contains("partition 4, and the topic has 4"))
    );
}

#[test]
fn an_answer_outside_of_its_memory_is_refused() {
    let (error, _) = error_of(&each(0xffff_0000, 3), "");
    assert!(matches!(&error, CallError::BadAnswer(reason) if reason.contains("out of bounds")), "{error:?}");
    let (error, _) = error_of("(i32.const 0x7ffffff0)", "");
    assert!(matches!(error, CallError::BadAnswer(_)), "{error:?}");
}

#[test]
fn a_result_of_a_gigabyte_is_refused_unread() {
    let host = host_with(Limits { memory_bytes: 2 << 30, ..limits() });
    let answer = format!("(drop (memory.grow (i32.const 16384))) {}", each(1 << 20, 250_000_000));
    let plugin = attach(&host, &behaves_unless_three(&answer, ""));
    let error = plugin.partition(0, &nulls(3)).unwrap_err();
    assert!(matches!(&error, CallError::BadAnswer(reason) if reason.contains("ottla.plugin.result.bytes")));
    assert_eq!(plugin.stats().memory_bytes, 0, "the instance is gone");
}

#[test]
fn a_log_flood_is_cut_to_the_budget() {
    let flood = "(local.set $size (i32.const 20000))
        (loop $again
          (call $log (i32.const 1) (i32.const 512) (i32.const 20))
          (br_if $again (local.tee $size (i32.sub (local.get $size) (i32.const 1)))))
        (global.get $ok)";
    let host = host_with(Limits { batch_time_ms: 10_000, log_bytes_per_s: 1000, ..limits() });
    let lines = Arc::new(Lines::default());
    let component = behaves_unless_three(flood, "");
    let plugin = attach_to(&host, &component, topic(4), "", lines.clone()).unwrap();
    let started = Instant::now();
    assert_eq!(plugin.partition(0, &nulls(3)), Ok(Placement::Stay));
    let seconds = started.elapsed().as_secs() + 1;
    let stats = plugin.stats();
    assert_eq!(stats.log_lines + stats.log_lines_dropped, 20_000);
    assert_eq!(stats.log_bytes_dropped, stats.log_lines_dropped * 20);
    let written = lines.0.lock().iter().filter(|(level, _)| *level == Level::Info).count() as u64;
    assert_eq!(written, stats.log_lines);
    assert!((1..=(seconds + 1) * 1000 / 20).contains(&written), "{written}");
}

#[test]
fn a_component_of_50_mb_is_refused() {
    let error = host().compile(&vec![0; 50_000_000]).unwrap_err().to_string();
    assert!(error.contains("50000000 bytes") && error.contains("ottla.plugin.component.bytes"), "{error}");
}

#[test]
fn what_inspection_lets_through_and_is_no_valid_component_does_not_compile() {
    let mut bytes = component_of(&core("(global.get $ok)", "(global.get $ok)", ""));
    // Somewhere in the code of the core module.
    let at = bytes.windows(8).position(|window| window == b"\0asm\x01\0\0\0").unwrap() + 16;
    bytes[at..at + 4].fill(0x7b);
    assert!(host().compile(&bytes).is_err());
    let import = wat::parse_str(
        r#"(component (import "ottla:plugin/log@0.1.0" (instance (export "read" (func))))
             (instance $i) (export "ottla:plugin/partition-keys@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    let error = host().compile(&import).unwrap_err().to_string();
    assert!(error.contains("do not fit the contract"), "{error}");
}

#[test]
fn what_fails_at_once_is_never_attached() {
    let unreachable = "(unreachable)";
    let endless = "(loop $again (br $again)) (unreachable)";
    let good = "(global.get $ok)";
    let rejecting = "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 512))
         (i32.store (i32.const 2056) (i32.const 20)) (i32.const 2048)";
    let host = host();
    for (core, step, word) in [
        (core(unreachable, good, ""), Step::Configure, "panicked"),
        (core(endless, good, ""), Step::Configure, "longer than 2000 ms"),
        (core(rejecting, good, ""), Step::Configure, "something went wrong"),
        (core(good, unreachable, ""), Step::WarmUp, "a batch of 1 records: trap"),
        (core(good, endless, ""), Step::WarmUp, "longer than 50 ms"),
        (core(good, &each(4096, 1), ""), Step::WarmUp, "1 records of 2"),
        (core(good, good, "(func $f (unreachable)) (start $f)"), Step::Instantiate, "panicked"),
        (core(good, good, "(func $f (loop $l (br $l))) (start $f)"), Step::Instantiate, "2000 ms"),
        (core(good, good, "(memory 1000)"), Step::Instantiate, "memory"),
    ] {
        let component = component_of(&core);
        let outcome = attach_to(&host, &component, topic(4), "{}", Arc::new(Lines::default()));
        let error = outcome.err().unwrap_or_else(|| panic!("attached: {step} {word}"));
        assert_eq!(error.step, step, "{error}");
        let sentence = error.to_string();
        for part in ["test@1.2.3", "orders", word] {
            assert!(sentence.contains(part), "{part}: {sentence}");
        }
    }
}

#[test]
fn an_interface_with_other_types_is_not_attached() {
    let component = wat::parse_str(
        r#"(component
             (core module $m (func (export "f")))
             (core instance $c (instantiate $m))
             (func $f (canon lift (core func $c "f")))
             (instance $i (export "configure" (func $f)) (export "observe" (func $f)) (export "partition" (func $f)))
             (export "ottla:plugin/partition-keys@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    let error = attach_to(&host(), &component, topic(4), "{}", Arc::new(Lines::default())).err().unwrap();
    assert_eq!(error.step, Step::Validate);
    assert!(error.reason.contains("configure") && error.reason.contains("other types"), "{error}");
}

#[test]
fn a_plugin_that_fails_in_a_row_rests_and_comes_back() {
    let host = host();
    let plugin = attach(&host, &behaves_unless_three("(unreachable)", ""));
    for _ in 0..3 {
        assert!(matches!(plugin.partition(0, &nulls(3)), Err(CallError::Trap(_))));
    }
    assert_eq!(plugin.stats().breaker, BreakerState::Open);
    assert!(!plugin.is_quick());
    let error = plugin.partition(0, &nulls(1)).unwrap_err();
    let CallError::BreakerOpen { retry_after_ms } = error else { panic!("{error:?}") };
    assert!((1..=1000).contains(&retry_after_ms));
    assert!(plugin.describe(&error).contains("the last failure: trap: it panicked"));
    std::thread::sleep(Duration::from_millis(retry_after_ms));
    assert_eq!(plugin.partition(0, &nulls(1)), Ok(Placement::Stay));
    let stats = plugin.stats();
    assert_eq!((stats.breaker, stats.errors_trap, stats.errors_breaker_open), (BreakerState::Closed, 3, 1));
}

#[test]
fn a_broken_plugin_leaves_others_alone() {
    let host = host();
    let broken = attach(&host, &behaves_unless_three("(loop $again (br $again)) (unreachable)", ""));
    let good = attach(&host, &shipped("key_hash"));
    std::thread::scope(|scope| {
        let looping = scope.spawn(|| broken.partition(0, &nulls(3)));
        let mut calls = 0;
        while !looping.is_finished() {
            good.partition(0, &keys([Some("a"), Some("b")])).unwrap();
            calls += 1;
        }
        assert!(calls > 0);
        assert_eq!(looping.join().unwrap(), Err(CallError::Timeout));
    });
    assert_eq!(good.stats().errors_trap + good.stats().errors_timeout, 0);
}

#[test]
fn callers_beyond_the_instances_wait_and_then_are_told() {
    let host = host_with(Limits { instances: 1, batch_time_ms: 100, ..limits() });
    let plugin = attach(&host, &behaves_unless_three("(loop $again (br $again)) (unreachable)", ""));
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| plugin.partition(0, &nulls(3)))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let timeouts = outcomes.iter().filter(|outcome| **outcome == Err(CallError::Timeout)).count();
    assert!(timeouts >= 1, "{outcomes:?}");
    assert!(outcomes.iter().all(Result::is_err));
    assert!(plugin.stats().instances <= 1);
}

#[test]
fn limits_change_while_plugins_run() {
    let host = host();
    let grow =
        "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable))) (global.get $ok)";
    let plugin = attach(&host, &behaves_unless_three(grow, ""));
    assert_eq!(plugin.partition(0, &nulls(3)), Ok(Placement::Stay));
    host.set_limits(Limits { memory_bytes: 2 << 20, ..limits() });
    assert!(matches!(plugin.partition(0, &nulls(3)), Err(CallError::Trap(_))));
    host.set_limits(limits());
    assert_eq!(plugin.partition(0, &nulls(3)), Ok(Placement::Stay));
}

#[test]
fn the_plugin_is_told_before_it_is_judged_by_more_partitions() {
    let host = host();
    let answer = format!("(i32.store (i32.const 4096) (i32.const 5)) {}", each(4096, 3));
    let plugin = attach(&host, &behaves_unless_three(&answer, ""));
    assert!(matches!(plugin.partition(0, &nulls(3)), Err(CallError::BadAnswer(_))));
    plugin.observe(Partitions::idle(6));
    assert_eq!(plugin.partition(0, &nulls(3)), Ok(Placement::Each(vec![5, 0, 0])));
}
