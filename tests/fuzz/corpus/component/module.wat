(module (func (export "partition")))
