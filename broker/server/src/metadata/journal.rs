//! The quorum's entries as batches of one record in a [`ottla_storage::Log`]: the record's value is the entry, its
//! offset the entry's index, the batch's leader epoch the entry's term. So the metadata lies on disk as every
//! partition does, and a torn tail is found and cut by the same recovery. Before it stands the log store.

use std::io::{self, IoSlice};
use std::path::Path;

use ottla_model::batch::{Batches, Builder, Compression, Header, Limit, Records, check_crc, records_area};
use ottla_storage::{Assign, Log, LogConfig, Open};

use super::bounds::{ENTRY_BYTES_MAX, READ_BYTES, SEGMENT_BYTES};

pub(super) struct Journal {
    log: Log,
    now_ms: i64,
}

impl Journal {
    /// Opens the journal of a folder, whose first entry is `start`. Every entry is checked; what follows the last
    /// whole one is cut and reported.
    pub(super) fn open(folder: &Path, start: u64, now_ms: i64) -> io::Result<Journal> {
        let config = LogConfig {
            segment_bytes: SEGMENT_BYTES,
            segment_ms: i64::MAX,
            retention_ms: -1,
            retention_bytes: -1,
            file_delete_delay_ms: 0,
            ..LogConfig::default()
        };
        let start = offset(start)?;
        let open = Open { clean: false, recovery_point: start, log_start: start, now_ms };
        let (mut log, recovery) = Log::open(folder, config, open).map_err(io::Error::other)?;
        for cut in &recovery.cuts {
            tracing::warn!(
                file = %cut.path.display(), cut.position, cut.bytes, cut.offset, cut.reason,
                "the end of the metadata log was cut: it was never acknowledged or was damaged"
            );
        }
        if log.end_offset() < start {
            log.truncate_fully_at(start, now_ms).map_err(io::Error::other)?;
        }
        Ok(Journal { log, now_ms })
    }

    /// The index of the first entry.
    pub(super) fn start(&self) -> u64 {
        self.log.start_offset() as u64
    }

    /// The index after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.log.end_offset() as u64
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// Adds the entry after the last one; an empty journal begins where its first entry says. It survives a crash once
    /// [`Journal::flush`] has returned.
    pub(super) fn append(&mut self, index: u64, term: u64, entry: &[u8]) -> io::Result<()> {
        if self.start() == self.end() && index > self.end() {
            self.log.truncate_fully_at(offset(index)?, self.now_ms).map_err(io::Error::other)?;
        }
        if index != self.end() {
            let message =
                format!("entry {index} does not follow the metadata log, which ends at {}", self.end());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let epoch = i32::try_from(term).map_err(io::Error::other)?;
        let mut builder = Builder::new(Compression::None);
        builder.append(self.now_ms, None, Some(entry), []).map_err(io::Error::other)?;
        let bytes = builder.finish().map_err(io::Error::other)?;
        let header = Header::parse(&bytes).map_err(io::Error::other)?;
        self.log
            .append(&header, &[IoSlice::new(&bytes)], Assign::next(epoch), self.now_ms)
            .map_err(io::Error::other)?;
        Ok(())
    }

    /// Makes every entry durable.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.log.flush(self.now_ms).map(|_| ()).map_err(io::Error::other)
    }

    /// The entries from `from` up to but without `to`, all of which exist.
    pub(super) fn read(&self, from: u64, to: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut entries = Vec::new();
        let (mut next, end) = (offset(from)?, offset(to)?);
        let mut buffer = Vec::new();
        while next < end {
            let slice = self.log.read(next, READ_BYTES, end, true).map_err(io::Error::other)?;
            slice.read_into(&mut buffer)?;
            let before = next;
            for batch in Batches::new(&buffer) {
                // The last batch of a slice may be cut; it begins the next one.
                let Ok((header, bytes)) = batch else { break };
                if header.base_offset != next || next >= end {
                    return Err(damaged(next, "another entry stands in its place"));
                }
                entries.push(value(next, bytes)?);
                next += 1;
            }
            if next == before {
                return Err(damaged(next, "it is not whole"));
            }
        }
        Ok(entries)
    }

    /// Removes the entries from `index` on.
    pub(super) fn truncate(&mut self, index: u64) -> io::Result<()> {
        self.log.truncate_to(offset(index)?, self.now_ms).map(|_| ()).map_err(io::Error::other)
    }

    /// Makes `start` the first entry and deletes the files that lie below it. It may lie above the end: then the
    /// journal is empty and continues there.
    pub(super) fn purge(&mut self, start: u64) -> io::Result<()> {
        let start = offset(start)?;
        if start > self.log.end_offset() {
            return self.log.truncate_fully_at(start, self.now_ms).map_err(io::Error::other);
        }
        self.log.advance_start(start).map_err(io::Error::other)?;
        self.log.delete_old_segments(self.now_ms, start).map_err(io::Error::other)?;
        self.log.take_deleted(self.now_ms).remove().map_err(io::Error::other)?;
        Ok(())
    }
}

fn offset(index: u64) -> io::Result<i64> {
    i64::try_from(index).map_err(io::Error::other)
}

fn value(index: i64, batch: &[u8]) -> io::Result<Vec<u8>> {
    check_crc(batch).map_err(io::Error::other)?;
    let mut scratch = Vec::new();
    let limit = Limit { bytes_max: ENTRY_BYTES_MAX + 1024, ..Limit::default() };
    let area = records_area(batch, &mut scratch, limit).map_err(io::Error::other)?;
    let record = Records::new(area, 1).map_err(io::Error::other)?.next();
    let record = record.ok_or_else(|| damaged(index, "its batch is empty"))?.map_err(io::Error::other)?;
    record.value.map(<[u8]>::to_vec).ok_or_else(|| damaged(index, "it has no content"))
}

fn damaged(index: i64, reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("entry {index} of the metadata log is damaged: {reason}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn filled(folder: &Path, count: u64) -> Journal {
        let mut journal = Journal::open(folder, 0, 1_000).unwrap();
        for index in 0..count {
            journal.append(index, 1, format!("entry {index}").as_bytes()).unwrap();
        }
        journal.flush().unwrap();
        journal
    }

    #[test]
    fn entries_come_back_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = filled(folder.path(), 10);
        assert_eq!(journal.read(3, 5).unwrap(), [b"entry 3", b"entry 4"]);
        journal.append(12, 1, b"a gap").unwrap_err();
        let large = vec![7; 3 * READ_BYTES];
        journal.append(10, 2, &large).unwrap();
        assert_eq!(journal.read(9, 11).unwrap(), [b"entry 9".to_vec(), large.clone()]);
        drop(journal);
        let journal = Journal::open(folder.path(), 0, 2_000).unwrap();
        assert_eq!((journal.start(), journal.end()), (0, 11));
        assert_eq!(journal.read(0, 11).unwrap()[10], large);
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_tears() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), 3));
        let file = folder.path().join("00000000000000000000.log");
        let whole = fs::read(&file).unwrap();
        let one = whole.len() / 3;
        for length in 0..=whole.len() {
            let torn = tempfile::tempdir().unwrap();
            fs::write(torn.path().join("00000000000000000000.log"), &whole[..length]).unwrap();
            let mut journal = Journal::open(torn.path(), 0, 1_000).unwrap();
            assert_eq!(journal.end(), (length / one) as u64, "{length} of {} bytes", whole.len());
            assert_eq!(journal.read(0, journal.end()).unwrap().len(), length / one);
            journal.append(journal.end(), 1, b"goes on").unwrap();
        }
    }

    #[test]
    fn truncated_and_purged_entries_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = filled(folder.path(), 10);
        journal.truncate(7).unwrap();
        assert_eq!(journal.end(), 7);
        journal.purge(4).unwrap();
        assert_eq!((journal.start(), journal.end()), (4, 7));
        journal.read(3, 5).unwrap_err();
        journal.purge(20).unwrap();
        assert_eq!((journal.start(), journal.end()), (20, 20));
        journal.append(20, 3, b"after the hole").unwrap();
        drop(journal);
        let journal = Journal::open(folder.path(), 20, 1_000).unwrap();
        assert_eq!(journal.read(20, 21).unwrap(), [b"after the hole"]);
    }

    #[test]
    fn purging_frees_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), 0, 1_000).unwrap();
        let entry = vec![1; 1 << 20];
        for index in 0..20 {
            journal.append(index, 1, &entry).unwrap();
        }
        let before = journal.bytes();
        journal.purge(20).unwrap();
        assert!(journal.bytes() < before / 2, "{} of {before} bytes are left", journal.bytes());
        let on_disk: u64 =
            fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(on_disk < before / 2 + (1 << 20), "{on_disk} of {before} bytes are left on disk");
    }
}
