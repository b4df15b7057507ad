//! The plugins that ship with the broker. Their components are part of the program, so they are there on every
//! machine and cannot be deleted; an upload may add other versions under the same names.

/// The version that all shipped plugins have.
pub const VERSION: &str = "0.1.0";

/// Name and component of each.
pub const SHIPPED: [(&str, &[u8]); 9] = [
    ("consumed", include_bytes!("../../../../plugins/dist/consumed.wasm")),
    ("erase-subject", include_bytes!("../../../../plugins/dist/erase_subject.wasm")),
    ("keep-by-class", include_bytes!("../../../../plugins/dist/keep_by_class.wasm")),
    ("key-hash", include_bytes!("../../../../plugins/dist/key_hash.wasm")),
    ("round-robin", include_bytes!("../../../../plugins/dist/round_robin.wasm")),
    ("size-share", include_bytes!("../../../../plugins/dist/size_share.wasm")),
    ("sticky", include_bytes!("../../../../plugins/dist/sticky.wasm")),
    ("ttl-header", include_bytes!("../../../../plugins/dist/ttl_header.wasm")),
    ("vip-weighted", include_bytes!("../../../../plugins/dist/vip_weighted.wasm")),
];
