//! A fingerprint of what a batch's records say: keys, values and headers, in their order, without their times.
//! Tells a repeated batch from another one that bears its sequence (some clients partition anew on each retry).
//! It is kept on disk beside the producer's window, so its definition must not change.

use super::fault::BatchError;
use super::records::Records;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Fingerprints the records of an uncompressed `area`. Not cryptographic: it protects clients from themselves.
///
/// # Errors
/// As the walk over the records.
pub fn fingerprint(area: &[u8], record_count: i32) -> Result<u64, BatchError> {
    let mut state = record_count as u64 ^ MULTIPLIER;
    for record in Records::new(area, record_count)? {
        // The body states its own lengths, so the records' borders count as well.
        state = mix(state, record?.body);
    }
    Ok(fold(state, MULTIPLIER))
}

fn mix(mut state: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes"));
        state = fold(state ^ word, MULTIPLIER);
    }
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(last), MULTIPLIER ^ bytes.len() as u64)
}

/// Both halves of the product, so that every bit of the state reaches every other in two steps.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64 ^ a.rotate_left(23)
}
