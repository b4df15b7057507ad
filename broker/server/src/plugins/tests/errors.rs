//! What becomes of a batch on which the plugin fails, by the topic's `on.error`.

use ottla_model::error::ErrorCode;
use ottla_model::murmur2;

use super::support::{behaves_unless_three, component_of, core};
use ottla_replication::NO_RULE;

use super::*;
use crate::plugins::settings::{MODE, ON_ERROR};

fn three() -> ClientBatch {
    batch(Compression::None, [Some("a"), None, Some("c")])
}

/// A stage with a topic whose plugin breaks on batches of three records.
async fn breaking(hostile: &str, more: &[(&str, &str)]) -> Stage {
    let stage = Stage::new();
    stage.push("1.2.3", behaves_unless_three(hostile, "")).await.unwrap();
    stage.attach("orders", "test", "{}", more).await;
    stage
}

#[tokio::test]
async fn reject_names_plugin_version_topic_and_reason() {
    for (hostile, reason) in
        [("(unreachable)", "trap"), ("(loop $l (br $l)) (unreachable)", "ottla.plugin.batch.time.ms")]
    {
        let stage = breaking(hostile, &[]).await;
        let refusal = stage.place("orders", &mut three(), 0).await.unwrap_err();
        assert_eq!(refusal.error.code, ErrorCode::PolicyViolation);
        for word in ["test@1.2.3", "orders", reason, "ottla.partitioner.on.error=reject"] {
            assert!(refusal.error.message.contains(word), "{word}: {refusal}");
        }
        // Other batches of the topic are served.
        let mut four = batch(Compression::None, [Some("k"); 4]);
        assert_eq!(stage.place("orders", &mut four, 5).await, Ok(None));
        assert_eq!(stage.attachment("orders").counts.snapshot().on_error_reject, 1);
    }
}

#[tokio::test]
async fn an_open_breaker_is_an_error_that_clients_retry() {
    let stage = breaking("(unreachable)", &[]).await;
    let mut codes = Vec::new();
    for _ in 0..30 {
        codes.push(stage.place("orders", &mut three(), 0).await.unwrap_err().error.code);
    }
    assert_eq!(codes[0], ErrorCode::PolicyViolation);
    assert_eq!(codes[29], ErrorCode::NotEnoughReplicas);
    let counts = stage.attachment("orders").counts.snapshot();
    assert!(counts.calls.errors_breaker_open > 0 && counts.on_error_reject == 30, "{counts:?}");
}

#[tokio::test]
async fn builtin_places_keys_natively_and_pass_places_nothing() {
    let stage = breaking("(unreachable)", &[(ON_ERROR, "builtin")]).await;
    let decision = stage.place("orders", &mut three(), 9).await.unwrap().unwrap();
    let native = |key: &[u8]| murmur2::partition_of(key, 10) as i32;
    assert_eq!(destinations(&decision), [native(b"a"), 9, native(b"c")]);
    assert_eq!(decision.rule, NO_RULE, "no component decided");
    stage.alter("orders", &[(ON_ERROR, "pass")]).await.unwrap();
    assert_eq!(stage.place("orders", &mut three(), 9).await, Ok(None));
    let counts = stage.attachment("orders").counts.snapshot();
    assert_eq!((counts.on_error_builtin, counts.on_error_pass, counts.on_error_reject), (1, 1, 0));
}

#[tokio::test]
async fn observe_lets_a_batch_pass_on_which_the_plugin_fails() {
    let stage = breaking("(unreachable)", &[(MODE, "observe")]).await;
    assert_eq!(stage.place("orders", &mut three(), 9).await, Ok(None));
    assert_eq!(stage.attachment("orders").counts.snapshot().calls.errors_trap, 1);
}

#[tokio::test]
async fn a_rejected_record_is_named() {
    // The answer: an error, of the case `rejected`, with one record, index 1, and a text of 20 bytes at 512.
    let rejects = "(i32.store (global.get $results) (i32.const 1))
        (i32.store (i32.add (global.get $results) (i32.const 4)) (i32.const 0))
        (i32.store (i32.add (global.get $results) (i32.const 8)) (i32.const 2200))
        (i32.store (i32.add (global.get $results) (i32.const 12)) (i32.const 1))
        (i32.store (i32.const 2200) (i32.const 1))
        (i32.store (i32.const 2204) (i32.const 512))
        (i32.store (i32.const 2208) (i32.const 20))
        (global.get $results)";
    for on_error in ["reject", "pass"] {
        let stage = breaking(rejects, &[(ON_ERROR, on_error)]).await;
        let refusal = stage.place("orders", &mut three(), 0).await.unwrap_err();
        assert_eq!(refusal.error.code, ErrorCode::InvalidRecord, "{refusal}");
        assert_eq!(refusal.records.len(), 1);
        assert_eq!(refusal.records[0].index, 1);
        assert!(refusal.records[0].message.contains("something went wrong"), "{refusal:?}");
    }
}

#[tokio::test]
async fn records_that_are_no_records_are_refused_before_the_plugin_sees_them() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[]).await;
    let whole = batch(Compression::None, numbered("k", 50));
    for cut in [1, 20, 100] {
        let mut wrong = whole.clone();
        wrong.bytes = wrong.bytes.slice(..wrong.bytes.len() - cut);
        let refusal = stage.place("orders", &mut wrong, 0).await.unwrap_err();
        assert_ne!(refusal.error.code, ErrorCode::None);
    }
    assert_eq!(stage.attachment("orders").counts.snapshot().calls.calls, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_slow_plugin_does_not_hold_up_another_topic() {
    let stage = breaking("(loop $l (br $l)) (unreachable)", &[]).await;
    stage.attach("payments", "key-hash", "{}", &[]).await;
    let (plugins, slow) = (stage.plugins.clone(), stage.attachment("orders"));
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (plugins, slow) = (plugins.clone(), slow.clone());
            tokio::spawn(async move { plugins.place(&slow, &mut three(), 0).await })
        })
        .collect();
    // With one network thread, the fast topic gets through only if the slow one leaves that thread alone.
    let mut placed = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        stage.place("payments", &mut batch(Compression::None, [Some("k")]), 0).await.unwrap();
        placed += 1;
        tokio::task::yield_now().await;
    }
    assert!(placed > 10, "{placed} batches went through beside four calls of 50 ms each");
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn what_cannot_start_again_is_not_attached() {
    let stage = Stage::new();
    stage.push("1.0.0", component_of(&core("(unreachable)", "(global.get $ok)", ""))).await.unwrap();
    stage.memory.put_topic("orders", 10, &[(PARTITIONER, "test"), (ON_ERROR, "reject")]);
    stage.plugins.restore().await;
    let refusal = stage.place("orders", &mut three(), 0).await.unwrap_err();
    assert_eq!(refusal.error.code, ErrorCode::NotEnoughReplicas);
    assert!(refusal.error.message.contains("is not attached"), "{refusal}");
    // The operator can say what becomes of the batches meanwhile.
    stage.alter("orders", &[(ON_ERROR, "pass")]).await.unwrap();
    assert_eq!(stage.place("orders", &mut three(), 0).await, Ok(None));
    stage.alter("orders", &[(ON_ERROR, "builtin")]).await.unwrap();
    assert!(stage.place("orders", &mut three(), 0).await.unwrap().is_some());
    let status = stage.plugins.status("orders").unwrap();
    assert!(status.trouble.unwrap().message.contains("configure"));
}
