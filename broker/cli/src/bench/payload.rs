//! Records to write: values of random letters, as Apache's ProducerPerformance makes them, and keys of even weight.

/// Random letters from which values are cut, in bytes beyond the size of one.
const POOL_BYTES: usize = 1 << 20;

/// Makes records, the same ones for the same seed.
pub struct Payload {
    pool: Vec<u8>,
    value_bytes: usize,
    keys: u32,
    state: u64,
    key: [u8; KEY_BYTES],
}

/// `key-` and ten digits: any u32.
const KEY_BYTES: usize = 14;

impl Payload {
    /// Keys and values together make `record_bytes`. `keys` is how many distinct keys there are, 0 for none.
    pub fn new(record_bytes: usize, keys: u32, seed: u64) -> Payload {
        let value_bytes = if keys == 0 { record_bytes } else { record_bytes.saturating_sub(KEY_BYTES) };
        let mut payload = Payload {
            pool: Vec::new(),
            value_bytes,
            keys,
            state: seed.wrapping_mul(2).wrapping_add(1),
            key: *b"key-0000000000",
        };
        payload.pool = (0..POOL_BYTES + value_bytes).map(|_| b'A' + (payload.next() % 26) as u8).collect();
        payload
    }

    /// The next record's key and value.
    pub fn record(&mut self) -> (Option<&[u8]>, &[u8]) {
        let at = self.next() as usize % POOL_BYTES;
        let number = if self.keys == 0 { 0 } else { self.next() % u64::from(self.keys) };
        if self.keys > 0 {
            let mut left = number;
            for digit in self.key[4..].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
        let key = (self.keys > 0).then_some(&self.key[..]);
        (key, &self.pool[at..at + self.value_bytes])
    }

    /// splitmix64: good enough for letters, and it needs no library.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn records_have_the_size_that_was_asked_for() {
        let mut keyless = Payload::new(100, 0, 1);
        let (key, value) = keyless.record();
        assert_eq!((key, value.len()), (None, 100));
        let mut keyed = Payload::new(100, 1_000, 1);
        let (key, value) = keyed.record();
        assert_eq!(key.map(<[u8]>::len).unwrap_or(0) + value.len(), 100);
    }

    #[test]
    fn every_key_comes_and_no_other() {
        let mut payload = Payload::new(20, 100, 7);
        let keys: HashSet<_> = (0..5_000).filter_map(|_| payload.record().0.map(<[u8]>::to_vec)).collect();
        assert_eq!(keys.len(), 100);
    }
}
