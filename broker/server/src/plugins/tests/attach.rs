//! How attachments come, change and go: by config requests, behind the broker's back, at a restart.

use std::time::Duration;

use ottla_model::error::ErrorCode;
use ottla_plugin_host::Limits;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::plugins::cluster::Cluster as _;
use crate::plugins::settings::{MODE, ON_ERROR};
use crate::plugins::status::State;

/// Waits until something is true; a wait that never ends is the failure.
pub(super) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_wrong_value_is_refused_and_the_old_plugin_goes_on() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted@0.1.0", VIP, &[]).await;
    let before = stage.attachment("orders");
    for (changes, words) in [
        (
            &[(PARTITIONER, "vip-weigthed")][..],
            &[
                "vip-weigthed",
                "consumed, erase-subject, keep-by-class, key-hash, round-robin, size-share, sticky, ttl-header, \
                 vip-weighted",
            ][..],
        ),
        (&[(PARTITIONER, "vip-weighted@9.0.0")], &["9.0.0", "0.1.0"]),
        (&[(CONFIG, "{")], &["is not JSON"]),
        (
            &[(CONFIG, r#"{"vip":{"prefix":"vip-"},"share":7}"#)],
            &["vip-weighted@0.1.0", "configure", "goes on serving"],
        ),
        (&[(MODE, "maybe")], &["assign, enforce or observe"]),
        (&[(ON_ERROR, "dead-letter")], &["reject, builtin or pass"]),
    ] {
        let error = stage.alter("orders", changes).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidConfig, "{error}");
        for word in words {
            assert!(error.message.contains(word), "{word}: {error}");
        }
        assert!(Arc::ptr_eq(&before, &stage.attachment("orders")));
    }
    assert_eq!(stage.plugins.status("orders").unwrap().switches.len(), 1);
}

#[tokio::test]
async fn a_topic_of_one_partition_is_refused_with_a_sentence() {
    let stage = Stage::new();
    stage.memory.put_topic("orders", 1, &[]);
    let error = stage.alter("orders", &[(PARTITIONER, "vip-weighted"), (CONFIG, VIP)]).await.unwrap_err();
    assert!(error.message.contains("has one partition"), "{error}");
    assert_eq!(stage.plugins.status("orders").unwrap().state, State::None);
}

#[tokio::test]
async fn each_switch_is_on_record_and_another_mode_is_none() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let first = stage.attachment("orders");
    stage.alter("orders", &[(MODE, "enforce"), (ON_ERROR, "pass")]).await.unwrap();
    let second = stage.attachment("orders");
    assert!(Arc::ptr_eq(first.running.as_ref().unwrap(), second.running.as_ref().unwrap()), "it runs on");
    stage.alter("orders", &[(CONFIG, r#"{"vip":{"prefix":"vip-"},"share":0.6}"#)]).await.unwrap();
    stage.alter("orders", &[(PARTITIONER, "key-hash"), (CONFIG, "{}")]).await.unwrap();
    stage.alter("orders", &[(PARTITIONER, "")]).await.unwrap();
    let status = stage.plugins.status("orders").unwrap();
    let to: Vec<_> = status.switches.iter().map(|s| s.plugin.as_ref().map(|to| to.name.as_str())).collect();
    assert_eq!(to, [Some("vip-weighted"), Some("vip-weighted"), Some("key-hash"), None]);
    assert!(status.switches[1].config.as_ref().unwrap().contains("0.6"));
    assert_eq!(status.switches[0].offsets, (0..10).collect::<Vec<_>>());
    assert_eq!((status.state, status.switches[0].by.as_str()), (State::None, "test"));
}

#[tokio::test]
async fn counts_go_on_over_reloads() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    for share in ["0.5", "0.6", "0.7"] {
        let mut batch = batch(Compression::None, numbered("vip-", 100));
        stage.place("orders", &mut batch, 9).await.unwrap();
        stage.alter("orders", &[(CONFIG, &VIP.replace("0.8", share))]).await.unwrap();
    }
    let counts = stage.attachment("orders").counts.snapshot();
    assert_eq!((counts.calls.calls, counts.calls.records, counts.moved_records), (3, 300, 300));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reloads_under_load_fail_no_request() {
    let stage = Stage::new();
    // A call that the machine interrupts for long is no failure of the plugin.
    stage.plugins.set_limits(Limits { batch_time_ms: 60_000, ..Limits::default() });
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let slot = stage.plugins.slot("orders");
    let stop = CancellationToken::new();
    let produce = |stop: CancellationToken| {
        let (plugins, slot) = (stage.plugins.clone(), slot.clone());
        async move {
            let mut placed = 0;
            while !stop.is_cancelled() {
                let attachment = slot.attachment().expect("a reload leaves no gap");
                let mut batch = batch(Compression::None, numbered("vip-", 10));
                let decision = plugins.place(&attachment, &mut batch, 9).await.unwrap().unwrap();
                let share = if attachment.settings.config.contains("0.8") { 8 } else { 6 };
                assert!(
                    destinations(&decision).iter().all(|&partition| partition < share),
                    "the rule in force holds"
                );
                placed += 1;
                tokio::task::yield_now().await;
            }
            placed
        }
    };
    let producers = [tokio::spawn(produce(stop.clone())), tokio::spawn(produce(stop.clone()))];
    for reload in 0..200 {
        let share = if reload % 2 == 0 { "0.6" } else { "0.8" };
        stage.alter("orders", &[(CONFIG, &VIP.replace("0.8", share))]).await.unwrap();
    }
    stop.cancel();
    for producer in producers {
        assert!(producer.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_restart_attaches_what_metadata_says() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted", VIP, &[(MODE, "observe")]).await;
    stage.push("1.2.3", support::behaves_unless_three("(unreachable)", "")).await.unwrap();
    stage.attach("payments", "test@1.2.3", "{}", &[]).await;
    let next = Memory::new();
    next.copy_from(&stage.memory);
    let Stage { folder, plugins, .. } = stage;
    drop(plugins);
    let stage = Stage::over(next, folder);
    stage.plugins.restore().await;
    assert_eq!(stage.attachment("orders").plugin(), "vip-weighted@0.1.0");
    assert_eq!(stage.attachment("payments").plugin(), "test@1.2.3");
    let mut three = batch(Compression::None, [Some("a"), Some("b"), Some("c")]);
    assert!(stage.place("payments", &mut three, 0).await.is_err());
}

#[tokio::test]
async fn a_component_that_is_lost_is_a_failure_that_a_new_upload_heals() {
    let stage = Stage::new();
    let component = support::behaves_unless_three("(unreachable)", "");
    stage.push("1.2.3", component.clone()).await.unwrap();
    stage.attach("orders", "test", "{}", &[]).await;
    let next = Memory::new();
    next.copy_from(&stage.memory);
    let Stage { folder, plugins, .. } = stage;
    drop(plugins);
    std::fs::remove_dir_all(folder.path().join("ottla-plugins")).unwrap();
    let stage = Stage::over(next, folder);
    stage.plugins.restore().await;
    let status = stage.plugins.status("orders").unwrap();
    assert_eq!(status.state, State::Failed);
    assert!(status.trouble.unwrap().message.contains("push the plugin again"));
    let pushed = stage.push("1.2.3", component).await.unwrap();
    assert!(!pushed.created);
    let status = stage.plugins.status("orders").unwrap();
    assert_eq!((status.state, status.trouble), (State::Serving, None));
}

#[tokio::test]
async fn a_switch_that_a_crash_kept_from_the_record_is_recorded_at_the_next_start() {
    let stage = Stage::new();
    stage.attach("orders", "vip-weighted", VIP, &[]).await;
    let next = Memory::new();
    next.copy_from(&stage.memory);
    let Stage { folder, .. } = stage;
    let stage = Stage::over(next.clone(), folder);
    stage.plugins.restore().await;
    assert_eq!(next.switches("orders").len(), 1, "it is on record already");

    let changed = VIP.replace("0.8", "0.6");
    next.put_topic("orders", 10, &[(PARTITIONER, "vip-weighted"), (CONFIG, &changed)]);
    let last = Memory::new();
    last.copy_from(&next);
    let Stage { folder, .. } = stage;
    let stage = Stage::over(last.clone(), folder);
    stage.plugins.restore().await;
    let switches = last.switches("orders");
    assert_eq!(switches.len(), 2);
    assert_eq!((switches[1].config.as_ref(), switches[1].by.as_str()), (Some(&changed), "restart"));
}

#[tokio::test]
async fn the_follower_takes_what_others_changed() {
    let stage = Stage::new();
    stage.memory.put_topic("orders", 4, &[]);
    let stop = CancellationToken::new();
    let follower = tokio::spawn(stage.plugins.clone().follow(stop.clone()));
    let slot = stage.plugins.slot("orders");

    stage.memory.put_topic("orders", 4, &[(PARTITIONER, "key-hash")]);
    eventually("attached", || slot.attachment().is_some()).await;
    stage.memory.put_topic("orders", 7, &[(PARTITIONER, "key-hash")]);
    let running = slot.attachment().unwrap().running.clone().unwrap();
    eventually("told of more partitions", || running.partitions() == 7).await;
    stage.memory.put_topic("orders", 7, &[(PARTITIONER, "no-such-plugin")]);
    eventually("in trouble", || slot.trouble().is_some()).await;
    assert_eq!(slot.attachment().unwrap().plugin(), "key-hash@0.1.0", "the old one serves");
    stage.memory.put_topic("orders", 7, &[(PARTITIONER, "round-robin")]);
    eventually("out of trouble", || slot.trouble().is_none()).await;
    assert_eq!(slot.attachment().unwrap().plugin(), "round-robin@0.1.0");
    stage.memory.remove_topic("orders");
    eventually("detached", || slot.attachment().is_none()).await;
    stop.cancel();
    follower.await.unwrap();
}

#[tokio::test]
async fn a_partition_that_only_the_client_knows_is_learned_before_the_call() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[]).await;
    stage.memory.put_topic("orders", 40, &[(PARTITIONER, "key-hash"), (CONFIG, "{}")]);
    let keys = numbered("k", 200);
    let decision =
        stage.place("orders", &mut batch(Compression::None, keys.clone()), 30).await.unwrap().unwrap();
    let native: Vec<i32> =
        keys.iter().flatten().map(|k| ottla_model::murmur2::partition_of(k.as_bytes(), 40) as i32).collect();
    assert_eq!(destinations(&decision), native);
}

#[tokio::test]
async fn sticky_leaves_a_partition_that_takes_no_records() {
    let stage = Stage::new();
    stage.attach("orders", "sticky", "{}", &[]).await;
    let nulls = || batch(Compression::None, vec![None::<&str>; 5]);
    assert_eq!(
        stage.place("orders", &mut nulls(), 4).await,
        Ok(None),
        "a null key stays where its client put it"
    );
    stage.memory.set_unwritable(&[4]);
    let slot = stage.plugins.slot("orders");
    stage.plugins.observe(&slot, 10);
    let decision = stage.place("orders", &mut nulls(), 4).await.unwrap().expect("it moves away");
    assert!(!destinations(&decision).contains(&4));
}

#[tokio::test]
async fn limits_hold_for_what_is_attached_already() {
    let stage = Stage::new();
    stage.push("1.2.3", support::behaves_unless_three("(loop $l (br $l)) (unreachable)", "")).await.unwrap();
    stage.attach("orders", "test", "{}", &[]).await;
    stage.plugins.set_limits(Limits { batch_time_ms: 7, instances: 1, ..Limits::default() });
    let mut three = batch(Compression::None, [Some("a"), Some("b"), Some("c")]);
    let refusal = stage.place("orders", &mut three, 0).await.unwrap_err();
    assert!(refusal.error.message.contains("7 ms"), "{refusal}");
    let running = stage.attachment("orders").running.clone().unwrap();
    assert_eq!(running.calls.available_permits(), 1);
    stage.plugins.set_limits(Limits { instances: 5, ..Limits::default() });
    assert_eq!(running.calls.available_permits(), 5);
}

#[tokio::test]
async fn the_follower_takes_limits_from_the_configs() {
    let stage = Stage::new();
    stage.memory.set_limits(Limits { batch_time_ms: 11, ..Limits::default() });
    stage.plugins.restore().await;
    assert_eq!(stage.plugins.limits().batch_time_ms, 11);
    let stop = CancellationToken::new();
    let follower = tokio::spawn(stage.plugins.clone().follow(stop.clone()));
    stage.memory.set_limits(Limits { batch_time_ms: 13, ..Limits::default() });
    eventually("in force", || stage.plugins.limits().batch_time_ms == 13).await;
    stop.cancel();
    follower.await.unwrap();
}

#[tokio::test]
async fn the_page_has_a_line_per_plugin_and_topic() {
    let stage = Stage::new();
    stage.attach("orders", "key-hash", "{}", &[]).await;
    let metrics = crate::metrics::Metrics::new();
    stage.plugins.register_metrics(&metrics);
    stage.place("orders", &mut batch(Compression::None, numbered("k", 50)), 0).await.unwrap();
    let moved = stage.attachment("orders").counts.snapshot().moved_records;
    let page = metrics.encode().unwrap();
    let labels = "plugin=\"key-hash\",version=\"0.1.0\",topic=\"orders\"";
    for line in [
        format!("ottla_plugin_calls_total{{{labels}}} 1.0"),
        format!("ottla_plugin_records_total{{{labels}}} 50.0"),
        format!("ottla_plugin_moved_records_total{{{labels}}} {moved}.0"),
        format!("ottla_plugin_errors_total{{{labels},reason=\"trap\"}} 0.0"),
        format!("ottla_plugin_breaker_open{{{labels}}} 0.0"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}
