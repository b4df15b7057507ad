//! One flipped bit, anywhere in a partition's folder: nothing crashes, what is not data is made again or found, damaged
//! data is found by verification and cut by recovery, and everything in front of it stays as it was.

use std::collections::BTreeMap;

use super::*;

/// Every so many bytes of a file a bit is flipped; a prime, so that no field of batches or entries is spared.
const STEP: usize = 23;

/// Where a sync costs nothing, if there is such a place.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A folder's files, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn files_in(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let file = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

fn lay_out(dir: &Path, files: &Files) {
    for entry in std::fs::read_dir(dir).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, content) in files {
        std::fs::write(dir.join(name), content).unwrap();
    }
}

/// Segments of a few batches each, two producers, saved states, and indexes with an entry for nearly every batch.
fn made() -> (LogConfig, Files, Vec<(i64, Vec<u8>)>) {
    let dir = in_memory();
    let config = LogConfig { segment_bytes: 1_500, index_interval_bytes: 150, ..LogConfig::default() };
    let (mut log, _) = open_at(dir.path(), config, false, 0);
    for n in 0..24 {
        let producer = Producer { id: i64::from(n % 2), epoch: 0, base_sequence: n / 2 * 2 };
        append(&mut log, &batch(2, 40, 1_000 + i64::from(n) * 10, Some(producer)), 1);
    }
    let all = read_all(&log);
    log.close_clean(2).unwrap();
    drop(log);
    (config, files_in(dir.path()), all)
}

fn verified(log: &Log) -> Verified {
    let mut found = Verified::default();
    for segment in log.segments() {
        found.add(log.segment_check(segment.base_offset).unwrap().unwrap().run(&|| true).unwrap());
    }
    let (dir, saved) = log.side_files().unwrap();
    found.add(verify_side_files(&dir, &saved));
    found
}

/// Reads whatever can be read, in every way that there is.
fn exercise(log: &Log) {
    for offset in (log.start_offset()..log.end_offset()).step_by(5) {
        let _ = log.read(offset, 1 << 20, i64::MAX, true).map(|slice| slice.read_into(&mut Vec::new()));
        let _ = log.offset_for_timestamp(1_000 + offset * 5);
        let _ = log.epochs().epoch_at(offset);
    }
    let _ = log.max_timestamp();
}

#[test]
fn a_sound_log_is_verified_whole() {
    let (config, files, all) = made();
    let dir = in_memory();
    lay_out(dir.path(), &files);
    let (log, _) = open_at(dir.path(), config, true, 0);
    let found = verified(&log);
    assert_eq!((found.damages.as_slice(), found.batches), (&[][..], all.len() as u64));
    assert_eq!(found.bytes, log.size_bytes());
    assert!(found.index_entries > 20, "{found:?}");
    let segment = log.segments().next().unwrap().base_offset;
    let nothing = log.segment_check(segment).unwrap().unwrap().run(&|| false).unwrap();
    assert_eq!(nothing.batches, 0, "who does not go on is not kept");
}

#[test]
fn no_flipped_bit_crashes_a_log_and_none_in_data_stays_hidden() {
    let (config, files, all) = made();
    let dir = in_memory();
    let (mut flips, mut data) = (0, 0);
    for (name, content) in &files {
        for at in (0..content.len()).step_by(STEP).chain(content.len().checked_sub(1)) {
            let bit = (at * 5 + flips) % 8;
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 1 << bit;
            let place = format!("bit {bit} of byte {at} of {name}");
            flips += 1;

            // After a clean stop nothing is compared: what is read may be damaged, and verification says so.
            lay_out(dir.path(), &damaged);
            let (mut log, recovery) = open_at(dir.path(), config, true, 0);
            exercise(&log);
            let found = verified(&log);
            let is_data = name.ends_with(".log");
            let starts = starts_of(&files[name], is_data);
            let within = starts.iter().rev().find(|start| **start <= at).map_or(0, |start| at - start);
            // No checksum covers a batch's leader epoch, as in Kafka.
            let is_unguarded = is_data && (12..16).contains(&within);
            let is_mended = !recovery.rebuilt.is_empty() || !recovery.cuts.is_empty();
            // The indexes of the last segment are made again at each start, without a word.
            let last = log.segments().last().unwrap().base_offset;
            let is_of_last = name.ends_with("index") && name.starts_with(&format!("{last:020}"));
            let _ = log.close_clean(2);
            let was_made_again = std::fs::read(dir.path().join(name)).is_ok_and(|now| now == *content);
            // Another offset of the same batch is as good a hint.
            let is_as_good = name.ends_with(".timeindex") && at % 12 == 11 && bit == 0;
            if !is_unguarded && !is_as_good && !is_of_last {
                assert!(
                    !found.damages.is_empty() || is_mended || was_made_again,
                    "{place} is hidden: {recovery:?}"
                );
            }
            drop(log);

            // Without a recovery point everything is compared, and what lies in front of the damage is whole.
            lay_out(dir.path(), &damaged);
            let (log, recovery) = open_at(dir.path(), config, false, 0);
            exercise(&log);
            let found = verified(&log);
            // States that are older than the newest are looked at when they are needed.
            let is_state = name.ends_with(".snapshot") || name.ends_with(".producers");
            assert!(found.damages.is_empty() || is_state, "{place}: {recovery:?}, {found:?}");
            if is_unguarded {
                continue;
            }
            let left = read_all(&log);
            // Nor does one cover a base offset, so that the last batch may bear another: what follows tells, and is cut.
            let sure = left.len() - usize::from(is_data && within < 8 && !left.is_empty());
            assert_eq!(left[..sure], all[..sure], "{place}");
            if is_data {
                data += 1;
                assert!(!recovery.cuts.is_empty() && left.len() < all.len(), "{place}: {recovery:?}");
            } else {
                assert!(recovery.cuts.is_empty() && left.len() == all.len(), "{place}: {recovery:?}");
            }
        }
    }
    assert!(flips > 200 && data > 100, "{flips} flips, {data} in data");
}

/// Where the batches of a segment begin.
fn starts_of(content: &[u8], is_data: bool) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while is_data && at < content.len() {
        starts.push(at);
        at += Header::parse(&content[at..]).unwrap().size();
    }
    starts
}

#[test]
fn a_damaged_batch_is_told_with_its_place_and_what_follows_is_looked_at() {
    let (config, files, all) = made();
    let name = files.keys().find(|name| name.ends_with(".log")).unwrap();
    let dir = in_memory();
    let starts = starts_of(&files[name], true);
    // The body of the second batch, and the length of the third: behind that the walk must find its way again.
    let mut damaged = files.clone();
    damaged.get_mut(name).unwrap()[starts[1] + 70] ^= 1;
    damaged.get_mut(name).unwrap()[starts[2] + 9] ^= 1;
    lay_out(dir.path(), &damaged);
    let (log, _) = open_at(dir.path(), config, true, 0);
    let found = verified(&log);
    let of_log: Vec<(u64, (i64, i64))> = found
        .damages
        .iter()
        .filter(|damage| damage.path.ends_with(name))
        .map(|damage| (damage.position, damage.offsets.unwrap()))
        .collect();
    assert_eq!(of_log[0], (starts[1] as u64, (2, 3)), "{found:?}");
    assert_eq!((of_log[1].0, of_log[1].1.0), (starts[2] as u64, 4), "{found:?}");
    assert!(of_log[1].1.1 < 10, "the walk goes on behind it: {found:?}");
    assert!(found.batches > all.len() as u64 - 4, "{found:?}");
}
