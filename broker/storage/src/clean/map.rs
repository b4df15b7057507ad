//! The newest offset of each key, in a bounded table: what compaction knows of the part of a log that it has not cleaned
//! yet. A slot holds 16 bytes of hash and 8 of offset and no key, so that keys of any size fit. The table is full at its
//! load factor; the round then ends where the keys did. It begins small and grows with the keys: nearly all of its time
//! goes into waiting for memory, and a small table lies in the processor's caches.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Two halves of the key's hash, and its offset plus one; zero where the slot is free.
type Slot = [u64; 3];
const SLOT_BYTES: usize = size_of::<Slot>();
/// So many slots a table has at first.
const SLOTS_MIN: usize = 1 << 16;
/// By which it grows.
const GROWTH: usize = 4;
/// A table of at most this share of the memory grows; the next one takes all that is left beside it.
const GROWING_SHARE: usize = 16;

/// Keys and their newest offsets.
///
/// Two keys with one hash would be one key: the older one's record would go although nothing superseded it. A hash is
/// two SipHashes of 64 bits under keys drawn at random for each map, so nobody can choose colliding keys; of the 5.6
/// million keys of a map of 128 MiB any two collide with a probability of 5 in 10^26. Kafka takes MD5 for the same.
pub struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    /// Of the table as it is.
    used_max: usize,
    slots_max: usize,
    load_factor: f64,
    hashers: [RandomState; 2],
}

/// A key's place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash([u64; 2]);

impl OffsetMap {
    /// A map in `bytes` bytes of memory, at least one slot; full once the share `load_factor` of its slots is used.
    pub fn new(bytes: usize, load_factor: f64) -> OffsetMap {
        let slots_max = (bytes - bytes / GROWING_SHARE) / SLOT_BYTES;
        let mut map = OffsetMap {
            slots: Vec::new(),
            used: 0,
            used_max: 0,
            slots_max: prime_up_to(slots_max.max(2)),
            load_factor: load_factor.clamp(0.0, 1.0),
            hashers: [RandomState::new(), RandomState::new()],
        };
        map.begin(SLOTS_MIN);
        map
    }

    /// An empty table of about so many slots.
    fn begin(&mut self, slots: usize) {
        let is_small = slots <= self.slots_max / GROWING_SHARE;
        let slots = if is_small { prime_up_to(slots) } else { self.slots_max };
        let used_max = (slots as f64 * self.load_factor) as usize;
        // The system hands out zeroed pages as they are touched.
        self.slots = vec![[0; 3]; slots];
        self.used = 0;
        self.used_max = used_max.clamp(1, slots - 1);
    }

    fn grow(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        self.begin(slots.len() * GROWTH);
        for slot in slots.into_iter().filter(|slot| slot[2] > 0) {
            let place = self.place(KeyHash([slot[0], slot[1]]));
            self.slots[place] = slot;
            self.used += 1;
        }
    }

    /// Bytes that the table takes now.
    pub fn size_bytes(&self) -> usize {
        self.slots.len() * SLOT_BYTES
    }

    /// Keys in it.
    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        if self.used > 0 {
            self.begin(SLOTS_MIN);
        }
    }

    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash([0, 1].map(|half| {
            let mut hasher = self.hashers[half].build_hasher();
            hasher.write(key);
            hasher.finish()
        }))
    }

    /// Notes a key at an offset, which must not be below those noted before. False, and nothing noted, if it is new
    /// and the map is full.
    pub(super) fn put(&mut self, key: KeyHash, offset: i64) -> bool {
        let mut place = self.place(key);
        if self.slots[place][2] == 0 {
            if self.used >= self.used_max {
                if self.slots.len() >= self.slots_max {
                    return false;
                }
                self.grow();
                place = self.place(key);
            }
            self.used += 1;
            self.slots[place][..2].copy_from_slice(&key.0);
        }
        let newest = &mut self.slots[place][2];
        *newest = (*newest).max(offset as u64 + 1);
        true
    }

    /// Looks at the key's slot without any use for it. Of several keys in a row the processor does this at once, which
    /// it cannot where each one may change the table.
    pub(super) fn touch(&self, key: KeyHash) -> u64 {
        self.slots[self.home(key)][2]
    }

    /// The newest offset of a key.
    pub(super) fn get(&self, key: KeyHash) -> Option<i64> {
        let [.., offset] = self.slots[self.place(key)];
        offset.checked_sub(1).map(|offset| offset as i64)
    }

    /// The key's slot, or the free one that it would get. A slot is always free: the map is full before.
    fn place(&self, key: KeyHash) -> usize {
        let slots = self.slots.len();
        let mut place = self.home(key);
        let mut step = 0;
        loop {
            let slot = &self.slots[place];
            if slot[2] == 0 || slot[..2] == key.0 {
                return place;
            }
            if step == 0 {
                // The number of slots is a prime: any step comes by all of them.
                step = 1 + (key.0[1] % (slots as u64 - 1)) as usize;
            }
            place += step;
            if place >= slots {
                place -= slots;
            }
        }
    }

    /// Where a key is looked for first: its hash as a share of all hashes, which takes no division.
    fn home(&self, key: KeyHash) -> usize {
        ((u128::from(key.0[0]) * self.slots.len() as u128) >> 64) as usize
    }
}

/// The largest prime that is not above `limit`, which is 2 or more.
fn prime_up_to(limit: usize) -> usize {
    let is_prime = |number: &usize| {
        (2..)
            .take_while(|divisor| divisor * divisor <= *number)
            .all(|divisor| !number.is_multiple_of(divisor))
    };
    (2..=limit).rev().find(is_prime).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_offset_of_each_key_is_found_until_the_map_is_full() {
        let mut map = OffsetMap::new(24 * 1_000, 0.9);
        assert_eq!(map.size_bytes(), 24 * 937);
        let key = |number: usize| number.to_be_bytes();
        let mut put = 0;
        for offset in 0..2_000 {
            let hash = map.hash(&key(put));
            if !map.put(hash, offset) {
                break;
            }
            put += 1;
        }
        assert_eq!((put, map.len()), (843, 843));
        let first = map.hash(&key(0));
        assert!(map.put(first, 5_000), "a known key finds its slot in a full map");
        assert_eq!(map.get(first), Some(5_000));
        assert!((1..put).all(|number| map.get(map.hash(&key(number))) == Some(number as i64)));
        assert!((put..3_000).all(|number| map.get(map.hash(&key(number))).is_none()));
        map.clear();
        assert!(map.is_empty() && map.get(first).is_none());
    }

    #[test]
    fn a_map_grows_with_its_keys_within_its_memory() {
        const BYTES: usize = 64 << 20;
        let mut map = OffsetMap::new(BYTES, 0.9);
        let (mut sizes, mut most) = (vec![map.size_bytes()], 0);
        let key = |number: i64| number.to_le_bytes();
        while map.put(map.hash(&key(most)), most) {
            most += 1;
            let before = *sizes.last().unwrap();
            if map.size_bytes() != before {
                assert!(
                    before + map.size_bytes() <= BYTES,
                    "both tables are there while one becomes the other"
                );
                sizes.push(map.size_bytes());
            }
        }
        assert_eq!(sizes.len(), 2, "{sizes:?}");
        assert_eq!(map.len(), most as usize);
        assert!((0..most).all(|number| map.get(map.hash(&key(number))) == Some(number)));
        assert!(map.len() > BYTES / 24 * 8 / 10);
        map.clear();
        assert_eq!((map.size_bytes(), map.len()), (sizes[0], 0));
    }

    #[test]
    fn primes_are_found() {
        let found: Vec<usize> = [2, 3, 4, 10, 100, 5_592_405].map(prime_up_to).to_vec();
        assert_eq!(found, [2, 3, 3, 7, 97, 5_592_373]);
    }
}
