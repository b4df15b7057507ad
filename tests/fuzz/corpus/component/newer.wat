(component (instance $i) (export "ottla:plugin/partition-keys@0.2.0" (instance $i)))
