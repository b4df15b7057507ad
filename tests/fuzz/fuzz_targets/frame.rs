//! A frame, without its length prefix, from a socket to a decoded request: the guard and the decoder together.
//! What was decoded must be writable again, as the guard and the decoder then agree on where it ends.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ottla_fuzz as _;
use ottla_server::codec::{Asked, decode};
use ottla_server::dispatch::APIS;

fuzz_target!(|frame: &[u8]| {
    let Ok((header, Asked::Request(request))) = decode(APIS, Bytes::copy_from_slice(frame)) else { return };
    let mut written = BytesMut::new();
    request.encode(&mut written, header.version).expect("what was read can be written");
});
