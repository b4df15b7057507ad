//! The plugins that ship with the broker, by their sources: as crates they would be libraries for WebAssembly too, whose
//! files bear no hash in their names and would replace the workspace's.

#[path = "../../../plugins/key-hash/src/lib.rs"]
pub mod key_hash;
#[path = "../../../plugins/round-robin/src/lib.rs"]
pub mod round_robin;
#[path = "../../../plugins/sticky/src/lib.rs"]
pub mod sticky;
#[path = "../../../plugins/vip-weighted/src/lib.rs"]
pub mod vip_weighted;
