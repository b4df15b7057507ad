(component
  (import "ottla:plugin/log@0.1.0" (instance))
  (instance $i)
  (export "ottla:plugin/partition-keys@0.1.0" (instance $i))
  (export "init" (instance $i)))
