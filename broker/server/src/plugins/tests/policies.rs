//! Retention policies in WAT: they judge records, and answer the same for each.

use super::support::component_in;

/// A policy of records whose `judge` has this body; `$count` is the number of records, `$keep`, `$erase` and `$keep_for_ever` are answers:
/// success, `all(verdict)`, and the last one promises never to change.
fn policy(configure: &str, judge: &str) -> Vec<u8> {
    let core = format!(
        r#"(module
  (import "ottla:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 16)
  (global $top (mut i32) (i32.const 65536))
  (global $keep i32 (i32.const 1024))
  (global $erase i32 (i32.const 1088))
  (data (i32.const 1100) "\01")
  (global $keep_for_ever i32 (i32.const 1152))
  (data (i32.const 1176) "\01")
  (data (i32.const 1184) "\ff\ff\ff\ff\ff\ff\ff\7f")
  (data (i32.const 512) "this config is not for me")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 64)))))
    (local.get $at))
  (func (export "ottla:plugin/retain-records@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32) (param $config i32) (param $config_size i32) (result i32)
    {configure})
  (func (export "cabi_post_ottla:plugin/retain-records@0.1.0#configure") (param i32)
    (global.set $top (i32.const 65536)))
  (func (export "ottla:plugin/retain-records@0.1.0#judge") (param $args i32) (result i32)
    (local $count i32)
    (local.set $count (i32.load (local.get $args)))
    {judge})
  (func (export "cabi_post_ottla:plugin/retain-records@0.1.0#judge") (param i32)
    (global.set $top (i32.const 65536)))
)"#
    );
    component_in("record-retention", &core)
}

pub(crate) fn keeps_all() -> Vec<u8> {
    policy("(i32.const 1024)", "(global.get $keep)")
}

/// Takes only a config that is two bytes long.
pub(crate) fn takes_empty_config() -> Vec<u8> {
    let configure = "
    (if (result i32) (i32.eq (local.get $config_size) (i32.const 2))
      (then (i32.const 1024))
      (else
        (i32.store8 (i32.const 2048) (i32.const 1))
        (i32.store (i32.const 2052) (i32.const 512))
        (i32.store (i32.const 2056) (i32.const 25))
        (i32.const 2048)))";
    policy(configure, "(global.get $keep)")
}

/// Answers so when it is 1,000 ms past 1970, which it is in no warm-up, and keeps all at any other time.
pub(crate) fn erases(answer: &str) -> Vec<u8> {
    let judge = format!(
        "(if (result i32) (i64.eq (i64.load (i32.add (local.get $args) (i32.const 104))) (i64.const 1000))
      (then {answer}) (else (global.get $keep)))"
    );
    policy("(i32.const 1024)", &judge)
}
