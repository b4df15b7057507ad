//! The plugins that ship with the broker, by their sources: as crates they would be libraries for WebAssembly too, whose
//! files bear no hash in their names and would replace the workspace's.

#[path = "../../../plugins/erase-subject/src/lib.rs"]
pub mod erase_subject;
#[path = "../../../plugins/keep-by-class/src/lib.rs"]
pub mod keep_by_class;
#[path = "../../../plugins/key-hash/src/lib.rs"]
pub mod key_hash;
#[path = "../../../plugins/round-robin/src/lib.rs"]
pub mod round_robin;
#[path = "../../../plugins/size-share/src/lib.rs"]
pub mod size_share;
#[path = "../../../plugins/sticky/src/lib.rs"]
pub mod sticky;
#[path = "../../../plugins/ttl-header/src/lib.rs"]
pub mod ttl_header;
#[path = "../../../plugins/vip-weighted/src/lib.rs"]
pub mod vip_weighted;
