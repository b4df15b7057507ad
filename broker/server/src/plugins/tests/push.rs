//! Uploads: what is taken, what follows to a new version, and what stays as it was.

use super::support::{behaves_unless_three, component_of, core};
use super::*;
use crate::plugins::PushError;

/// Places every record on one partition.
fn all_to(partition: u32) -> Vec<u8> {
    let answer = format!(
        "(i32.store (global.get $results) (i32.const 0))
         (i32.store (i32.add (global.get $results) (i32.const 4)) (i32.const 1))
         (i32.store (i32.add (global.get $results) (i32.const 8)) (i32.const {partition}))
         (global.get $results)"
    );
    component_of(&core("(global.get $ok)", &answer, ""))
}

async fn destination(stage: &Stage, topic: &str) -> Option<i32> {
    let mut one = batch(Compression::None, [Some("k")]);
    let decision = stage.place(topic, &mut one, 0).await.unwrap();
    decision.and_then(|decision| decision.destinations.sole_destination())
}

#[tokio::test]
async fn a_new_version_is_live_where_a_topic_follows_and_nowhere_else() {
    let stage = Stage::new();
    stage.push("1.0.0", all_to(1)).await.unwrap();
    stage.attach("follows", "test", "{}", &[]).await;
    stage.attach("pinned", "test@1.0.0", "{}", &[]).await;
    let pushed = stage.push("1.1.0", all_to(2)).await.unwrap();
    assert_eq!(pushed.reloaded_topics, ["follows"]);
    assert_eq!(
        (destination(&stage, "follows").await, destination(&stage, "pinned").await),
        (Some(2), Some(1))
    );
    // An older one and a pre-release are kept, and nobody follows to them.
    for version in ["0.9.0", "2.0.0-rc.1"] {
        assert!(stage.push(version, all_to(3)).await.unwrap().reloaded_topics.is_empty());
    }
    assert_eq!(destination(&stage, "follows").await, Some(2));
    // Back to an earlier one.
    stage.alter("follows", &[(PARTITIONER, "test@1.0.0")]).await.unwrap();
    assert_eq!(destination(&stage, "follows").await, Some(1));
    let status = stage.plugins.status("follows").unwrap();
    let versions: Vec<_> =
        status.switches.iter().map(|s| s.plugin.as_ref().unwrap().version.as_str()).collect();
    assert_eq!(versions, ["1.0.0", "1.1.0", "1.0.0"]);
}

#[tokio::test]
async fn a_broken_upload_changes_nothing_and_says_why() {
    let stage = Stage::new();
    stage.push("1.0.0", all_to(1)).await.unwrap();
    stage.attach("orders", "test", "{}", &[]).await;
    let before = stage.attachment("orders");
    let wasi = wat::parse_str(r#"(component (import "wasi:clocks/wall-clock@0.2.0" (instance)))"#).unwrap();
    for (component, word) in [
        (b"\0asm\x0d\0\x01\0garbage".to_vec(), ""),
        (b"no wasm at all".to_vec(), "not WebAssembly"),
        (wasi, "wasi:clocks"),
        (component_of(&core("(unreachable)", "(global.get $ok)", "")), "configure"),
        (component_of(&core("(global.get $ok)", "(unreachable)", "")), "warm-up"),
        (all_to(99), "warm-up"),
    ] {
        let error = stage.push("2.0.0", component).await.unwrap_err();
        assert!(matches!(&error, PushError::Refused(message) if message.contains(word)), "{word}: {error}");
        assert!(Arc::ptr_eq(&before, &stage.attachment("orders")));
        assert_eq!(stage.plugins.registry().versions_of("test").len(), 1);
    }
    let kept = std::fs::read_dir(stage.folder.path().join("ottla-plugins")).unwrap();
    let kept =
        kept.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "wasm")).count();
    assert_eq!(kept, 1, "what was refused is not kept");
}

#[tokio::test]
async fn the_same_again_is_fine_and_other_bytes_are_a_conflict() {
    let stage = Stage::new();
    assert!(stage.push("1.0.0", all_to(1)).await.unwrap().created);
    assert!(!stage.push("1.0.0", all_to(1)).await.unwrap().created);
    assert!(matches!(stage.push("1.0.0", all_to(2)).await, Err(PushError::Conflict(_))));
    let shipped = stage.plugins.push("key-hash", "0.1.0", Bytes::from(all_to(1)), "test").await;
    assert!(matches!(shipped, Err(PushError::Conflict(_))));
    for (name, version) in [("../x", "1.0.0"), ("x", "latest"), ("", "1.0.0")] {
        let error = stage.plugins.push(name, version, Bytes::from(all_to(1)), "test").await.unwrap_err();
        assert!(matches!(error, PushError::Invalid(_)), "{error}");
    }
}

#[tokio::test]
async fn what_serves_is_not_deleted() {
    let stage = Stage::new();
    stage.push("1.0.0", all_to(1)).await.unwrap();
    stage.push("1.1.0", behaves_unless_three("(unreachable)", "")).await.unwrap();
    stage.attach("orders", "test", "{}", &[]).await;
    let error = stage.plugins.delete("test", "1.1.0").await.unwrap_err();
    assert!(matches!(&error, PushError::Conflict(message) if message.contains("orders")), "{error}");
    assert!(matches!(stage.plugins.delete("key-hash", "0.1.0").await, Err(PushError::Conflict(_))));
    assert!(matches!(stage.plugins.delete("test", "7.0.0").await, Err(PushError::Missing(_))));
    stage.plugins.delete("test", "1.0.0").await.unwrap();
    stage.alter("orders", &[(PARTITIONER, "")]).await.unwrap();
    stage.plugins.delete("test", "1.1.0").await.unwrap();
    assert!(stage.plugins.registry().versions_of("test").is_empty());
}
