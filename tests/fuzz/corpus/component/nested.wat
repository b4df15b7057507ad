(component
  (component $inner
    (import "wasi:a/b@0.2.0" (instance))
    (instance $i)
    (export "ottla:plugin/partition-keys@0.1.0" (instance $i)))
  (core module (func (loop br 0)))
  (type (list (record (field "name" string) (field "lengths" (list s32))))))
