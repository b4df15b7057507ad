;; A partitioner of keys that answers `stay` eight times and then does what its config says, by the first letter of what stands in
;; {"do":"…"}: `loops` endlessly, `allocates` without end, `traps`. With anything else it goes on answering.
(module
  (memory (export "memory") 16)
  (global $top (mut i32) (i32.const 65536))
  (global $calls (mut i32) (i32.const 0))
  (global $does (mut i32) (i32.const 0))
  ;; At 1024 lie zeros: success, and `stay`.

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
    (global.set $top (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "ottla:plugin/partition-keys@0.1.0#configure")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (param $config i32) (param $config_bytes i32) (result i32)
    (if (i32.gt_u (local.get $config_bytes) (i32.const 7))
      (then (global.set $does (i32.load8_u (i32.add (local.get $config) (i32.const 7))))))
    (i32.const 1024))
  (func (export "cabi_post_ottla:plugin/partition-keys@0.1.0#configure") (param i32)
    (global.set $top (i32.const 65536)))

  (func (export "ottla:plugin/partition-keys@0.1.0#observe") (param i32 i32 i32 i32)
    (global.set $top (i32.const 65536)))

  (func (export "ottla:plugin/partition-keys@0.1.0#partition")
    (param $client i32) (param $lengths i32) (param $count i32) (param $bytes i32) (param $size i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.gt_u (global.get $calls) (i32.const 8))
      (then
        (if (i32.eq (global.get $does) (i32.const 108)) ;; l
          (then (loop $again (br $again))))
        (if (i32.eq (global.get $does) (i32.const 97)) ;; a
          (then (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)))
        (if (i32.eq (global.get $does) (i32.const 116)) ;; t
          (then (unreachable)))))
    (i32.const 1024))
  (func (export "cabi_post_ottla:plugin/partition-keys@0.1.0#partition") (param i32)
    (global.set $top (i32.const 65536))))
