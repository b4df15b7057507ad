(component
  (import "ottla:plugin/types@0.1.4" (instance))
  (core module $m (memory (export "memory") 1) (func (export "f") (result i32) i32.const 7))
  (core instance $c (instantiate $m))
  (func $f (result u32) (canon lift (core func $c "f")))
  (instance $i (export "partition" (func $f)))
  (export "ottla:plugin/partition-records@0.1.0" (instance $i)))
