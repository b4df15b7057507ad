//! Places at which a test ends the process as `kill -9` would: the environment variable `OTTLA_FAILPOINTS` names
//! them, as `NAME=kill` for the first time the place is reached or `NAME=N` for the N-th, separated by commas.
//! Without the crate's feature `failpoints` every place is empty.

/// The places: behind a write into a lane; between two parts of one batch; behind all parts and before the answer;
/// between a lane's checkpoint and the deletion of its segments; in the metadata write of a plugin's reload.
pub const NAMES: [&str; 5] = [
    "after-lane-append",
    "between-parts",
    "after-parts-before-answer",
    "during-trim",
    "during-metadata-write",
];

/// The process ends here if `OTTLA_FAILPOINTS` says so.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub use enabled::hit;

/// As [`hit`], where only some visits count. `counts` is not called without the feature.
#[inline(always)]
pub fn hit_if(name: &str, counts: impl FnOnce() -> bool) {
    if cfg!(feature = "failpoints") && counts() {
        hit(name);
    }
}

#[cfg(feature = "failpoints")]
mod enabled {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How often each named place may still be reached.
    static LEFT: OnceLock<HashMap<String, AtomicU64>> = OnceLock::new();

    /// Counts a visit, and ends the process at the one that was asked for.
    pub fn hit(name: &str) {
        let left = LEFT.get_or_init(|| parse(&std::env::var("OTTLA_FAILPOINTS").unwrap_or_default()));
        let Some(left) = left.get(name) else { return };
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }

    fn parse(text: &str) -> HashMap<String, AtomicU64> {
        let places = text.split(',').filter_map(|place| place.trim().split_once('='));
        let visits = |when: &str| {
            if when == "kill" { Some(1) } else { when.parse().ok().filter(|visits| *visits > 0) }
        };
        places.filter_map(|(name, when)| Some((name.to_owned(), AtomicU64::new(visits(when)?)))).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_variable_names_places_and_visits() {
            let places = parse("after-lane-append=kill, between-parts=3,nonsense,other=0");
            assert_eq!(places.len(), 2);
            assert_eq!(places["after-lane-append"].load(Ordering::SeqCst), 1);
            assert_eq!(places["between-parts"].load(Ordering::SeqCst), 3);
            hit("a place that nobody named");
        }
    }
}
