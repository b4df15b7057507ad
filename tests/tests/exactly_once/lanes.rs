//! What the lanes recorded. A lane deletes its segments once they are resolved, so a thread links them into a folder of
//! its own while the run goes on: a link costs nothing, and shows what is appended later too.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use ottla_model::batch::Batches;
use ottla_replication::lane::entry::Entry;

use super::topic::{self, TOPIC};
use super::workload::{Name, PARTITIONS};

/// Far below the time in which a segment fills and is resolved.
const EVERY: Duration = Duration::from_millis(40);

/// Links the segments of all lanes until it is stopped.
pub struct Keeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    kept: PathBuf,
}

impl Keeper {
    /// `kept` must lie on the disk of `data`.
    pub fn start(data: PathBuf, kept: PathBuf) -> Result<Keeper> {
        fs::create_dir_all(&kept)?;
        let stop = Arc::<AtomicBool>::default();
        let (stopped, folder) = (stop.clone(), kept.clone());
        let thread = std::thread::spawn(move || {
            let mut linked = HashSet::new();
            loop {
                let is_last = stopped.load(Ordering::Acquire);
                for partition in 0..PARTITIONS {
                    // A segment may vanish between the two steps; the next round sees what is there.
                    let _ = link(&data, &folder, partition, &mut linked);
                }
                if is_last {
                    return;
                }
                std::thread::sleep(EVERY);
            }
        });
        Ok(Keeper { stop, thread: Some(thread), kept })
    }

    /// Every entry that a lane ever held, as far as it was seen.
    pub fn finish(mut self) -> Result<Vec<Recorded>> {
        self.end();
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        for file in fs::read_dir(&self.kept)? {
            let file = file?.path();
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let partition: i32 = name.split('-').next().unwrap_or_default().parse()?;
            read(&file, partition, &mut seen, &mut entries).with_context(|| name)?;
        }
        Ok(entries)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

fn link(data: &Path, kept: &Path, partition: i32, linked: &mut HashSet<u64>) -> std::io::Result<()> {
    for file in fs::read_dir(data.join(format!("{TOPIC}-{partition}")).join("lane"))? {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        let inode = file.metadata()?.ino();
        if name.ends_with(".log") && !linked.contains(&inode) {
            fs::hard_link(file.path(), kept.join(format!("{partition}-{inode}-{name}")))?;
            linked.insert(inode);
        }
    }
    Ok(())
}

/// What a lane recorded of one batch.
pub struct Recorded {
    pub ingress: i32,
    /// When it was appended, in Unix milliseconds.
    pub at_ms: i64,
    /// In hexadecimal; zeros where no plugin decided.
    pub rule: String,
    pub records: Vec<Placed>,
}

/// One record of such a batch, and where it belongs.
pub struct Placed {
    pub name: Name,
    pub created_ms: i64,
    pub destination: i32,
}

fn read(
    file: &Path,
    ingress: i32,
    seen: &mut HashSet<(i32, i64, i32)>,
    entries: &mut Vec<Recorded>,
) -> Result<()> {
    let bytes = fs::read(file)?;
    for batch in Batches::new(&bytes) {
        // A process that is killed may leave a torn end; a restart cuts it, and goes on in the same file.
        let Ok((outer, batch)) = batch else { break };
        let Entry::Batch(entry) = Entry::decode(outer, batch)? else { continue };
        if !seen.insert((ingress, outer.base_offset, outer.partition_leader_epoch)) {
            continue;
        }
        let runs = entry.head.decision.destinations.iter();
        let destinations = runs.flat_map(|(count, to)| std::iter::repeat_n(to, count as usize));
        let records = topic::records(&entry.inner, entry.batch)?;
        entries.push(Recorded {
            ingress,
            at_ms: outer.max_timestamp,
            rule: entry.head.decision.rule.iter().map(|byte| format!("{byte:02x}")).collect(),
            records: records
                .into_iter()
                .zip(destinations)
                .map(|((_, name, created_ms), destination)| Placed { name, created_ms, destination })
                .collect(),
        });
    }
    Ok(())
}

/// Entry and place within it of each record; one that two entries hold was sent twice as something new.
pub fn by_name(entries: &[Recorded]) -> (HashMap<Name, (usize, usize)>, Vec<Name>) {
    let (mut all, mut twice) = (HashMap::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        for (place, record) in entry.records.iter().enumerate() {
            if all.insert(record.name, (index, place)).is_some() {
                twice.push(record.name);
            }
        }
    }
    (all, twice)
}
