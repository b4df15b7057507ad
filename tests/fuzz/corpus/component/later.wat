(component (instance $i) (export "ottla:plugin/retain-segments@0.1.0" (instance $i)) (export "ottla:plugin/transform-records@0.1.0" (instance $i)))
