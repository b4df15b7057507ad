//! Retention policies come, change and go as partitioners do, beside them and without touching them.

use ottla_controller::record::SwitchKind;
use ottla_model::error::ErrorCode;
use tokio_util::sync::CancellationToken;

use super::attach::eventually;
use super::policies::{keeps_all, takes_empty_config};
use super::*;
use crate::plugins::cluster::Cluster as _;
use crate::plugins::retaining::{CONFIG as RETENTION_CONFIG, ON_ERROR, RETENTION, Retained};
use crate::plugins::status::State;

fn retained(stage: &Stage, topic: &str) -> Arc<Retained> {
    stage.plugins.retention(topic).expect("a policy is asked for").running.clone().expect("it works")
}

async fn with_policy() -> Stage {
    let stage = Stage::new();
    stage.push("1.0.0", takes_empty_config()).await.unwrap();
    stage.memory.put_topic("orders", 4, &[]);
    stage.alter("orders", &[(RETENTION, "test@1.0.0")]).await.unwrap();
    stage
}

#[tokio::test]
async fn a_wrong_value_is_refused_and_the_old_policy_goes_on() {
    let stage = with_policy().await;
    let before = retained(&stage, "orders");
    for (changes, words) in [
        (&[(RETENTION, "nothing")][..], &["ottla.retention=nothing", "there is no plugin"][..]),
        (&[(RETENTION, "test@9.0.0")], &["9.0.0", "1.0.0"]),
        (&[(RETENTION, "key-hash")], &["goes on serving"]),
        (&[(RETENTION_CONFIG, "{")], &["ottla.retention.config", "is not JSON"]),
        (&[(RETENTION_CONFIG, "{\"a\":1}")], &["configure", "this config is not for me", "goes on serving"]),
        (&[(ON_ERROR, "delete")], &["give keep"]),
    ] {
        let error = stage.alter("orders", changes).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidConfig, "{error}");
        for word in words {
            assert!(error.message.contains(word), "{word}: {error}");
        }
        assert!(Arc::ptr_eq(&before, &retained(&stage, "orders")));
    }
    assert_eq!(stage.plugins.retention_status("orders").unwrap().switches.len(), 1);
}

#[tokio::test]
async fn each_role_has_its_own_attachment_and_its_own_record() {
    let stage = with_policy().await;
    let policy = retained(&stage, "orders");
    stage.alter("orders", &[(PARTITIONER, "key-hash")]).await.unwrap();
    assert!(Arc::ptr_eq(&policy, &retained(&stage, "orders")), "the policy runs on");
    let partitioner = stage.attachment("orders");
    stage.push("1.1.0", keeps_all()).await.unwrap();
    assert!(Arc::ptr_eq(&policy, &retained(&stage, "orders")), "the topic names a version");
    stage.alter("orders", &[(RETENTION, "test")]).await.unwrap();
    let pushed = stage.push("1.2.0", takes_empty_config()).await.unwrap();
    assert_eq!(pushed.reloaded_topics, ["orders"]);
    let running = |attachment: &Attachment| attachment.running.clone().expect("it works");
    assert!(Arc::ptr_eq(&running(&partitioner), &running(&stage.attachment("orders"))), "it runs on");
    stage.alter("orders", &[(RETENTION, "test@1.0.0")]).await.unwrap();
    stage.alter("orders", &[(RETENTION, "")]).await.unwrap();
    let status = stage.plugins.retention_status("orders").unwrap();
    let to: Vec<_> =
        status.switches.iter().map(|s| s.plugin.as_ref().map(|to| to.version.as_str())).collect();
    assert_eq!(to, [Some("1.0.0"), Some("1.1.0"), Some("1.2.0"), Some("1.0.0"), None]);
    assert!(status.switches.iter().all(|switch| switch.kind == SwitchKind::Retention));
    assert_eq!(status.state, State::None);
    assert_eq!(stage.plugins.status("orders").unwrap().switches.len(), 1);
}

#[tokio::test]
async fn a_version_that_cannot_serve_is_not_registered() {
    let stage = with_policy().await;
    stage.alter("orders", &[(RETENTION, "test")]).await.unwrap();
    let before = retained(&stage, "orders");
    let not_a_policy = support::behaves_unless_three("(unreachable)", "");
    let refused = stage.push("2.0.0", not_a_policy).await.unwrap_err();
    assert!(refused.to_string().contains("goes on serving"), "{refused}");
    assert!(Arc::ptr_eq(&before, &retained(&stage, "orders")));
    assert_eq!(stage.plugins.registry().versions_of("test").len(), 1);
}

#[tokio::test]
async fn another_built_in_retention_is_told_and_is_no_switch() {
    let stage = with_policy().await;
    let before = retained(&stage, "orders");
    stage.alter("orders", &[("retention.ms", "1000")]).await.unwrap();
    let after = stage.plugins.retention("orders").unwrap();
    assert!(!Arc::ptr_eq(&before, after.running.as_ref().unwrap()), "it was told");
    assert_eq!(after.settings.options.properties, [("retention.ms".to_owned(), "1000".to_owned())]);
    assert_eq!(stage.plugins.retention_status("orders").unwrap().switches.len(), 1);
    stage.alter("orders", &[("segment.ms", "1000")]).await.unwrap();
    assert!(
        Arc::ptr_eq(&after, &stage.plugins.retention("orders").unwrap()) || {
            let now = retained(&stage, "orders");
            Arc::ptr_eq(&now, after.running.as_ref().unwrap())
        }
    );
}

#[tokio::test]
async fn a_restart_and_other_brokers_changes_are_followed() {
    let stage = with_policy().await;
    let next = Memory::new();
    next.copy_from(&stage.memory);
    let Stage { folder, plugins, .. } = stage;
    drop(plugins);
    let stage = Stage::over(next.clone(), folder);
    stage.plugins.restore().await;
    retained(&stage, "orders");
    assert_eq!(next.switches("orders").len(), 1, "it is on record already");
    let stop = CancellationToken::new();
    let follower = tokio::spawn(stage.plugins.clone().follow(stop.clone()));
    stage.memory.put_topic("orders", 4, &[(RETENTION, "test@1.0.0"), (RETENTION_CONFIG, "{\"a\":1}")]);
    let slot = stage.plugins.retention_slot("orders").unwrap();
    eventually("in trouble", || slot.trouble().is_some()).await;
    retained(&stage, "orders");
    stage.memory.put_topic("orders", 4, &[]);
    eventually("detached", || stage.plugins.retention("orders").is_none()).await;
    stop.cancel();
    follower.await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_tried_is_attached_nowhere() {
    let stage = with_policy().await;
    let (version, tried) = stage.plugins.try_retention("orders", "test", "{}").await.unwrap();
    assert_eq!(version.version.to_string(), "1.0.0");
    assert!(tried.retention.judges_records() && !tried.retention.judges_segments());
    for (plugin, config, words) in [
        ("test", "{\"a\":1}", "this config is not for me"),
        ("nothing", "{}", "there is no plugin"),
        ("key-hash", "{}", "key-hash"),
    ] {
        let Err(error) = stage.plugins.try_retention("orders", plugin, config).await else {
            panic!("{plugin}")
        };
        assert!(error.code == ErrorCode::InvalidConfig && error.message.contains(words), "{error}");
    }
    assert_eq!(stage.plugins.retention_status("orders").unwrap().switches.len(), 1);
}
