(component (instance $i) (export "ottla:plugin/partition-keys@0.1.0" (instance $i)) (export "ottla:plugin/partition-records@0.1.0" (instance $i)))
