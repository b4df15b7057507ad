//! Replay: producer states as of a restart or a truncation, from the newest sound saved state and the headers of the
//! batches behind it. Damage in a saved state costs a longer replay; epochs that the checkpoint lacks are noted on the
//! way.

use ottla_model::batch::Header;

use super::Log;
use super::durability::SavedStates;
use super::open::Rebuilt;
use crate::error::StorageError;
use crate::names;
use crate::producers::{self, ProducerStates};
use crate::segment::Segment;
use crate::walk::{HeaderWalk, WalkError};

impl Log {
    /// Takes the newest sound saved state at or below the log's end, and replays what follows it. Kafka's file without
    /// ours counts below `alone_upto`: others may be ours, whose other half, which knows of lanes, was lost.
    pub(super) fn load_producers(&mut self, now_ms: i64, alone_upto: i64) -> Result<Replayed, StorageError> {
        let mut replayed = Replayed::default();
        // Also what lies below the log's start tells, as long as it is there.
        let mut states = ProducerStates::starting_at(self.segments.first().map_or(0, Segment::base_offset));
        let unsynced = std::mem::take(&mut self.saved.unsynced);
        self.saved = SavedStates { unsynced, ..SavedStates::default() };
        let end = self.log_end;
        // They tell of batches that are gone.
        self.forget_states_where(|saved| saved > end)?;
        let offsets = self.saved_offsets()?;
        let newest = offsets.last().copied();
        for &offset in offsets.iter().rev() {
            let ours = self.dir.join(names::file_name(offset, names::PRODUCERS));
            let is_torn = offset >= alone_upto && !ours.exists();
            let read = match is_torn {
                true => Err(format!("{} is missing", ours.display())),
                false => producers::read_saved(&self.dir, offset),
            };
            match read {
                Ok(saved) => {
                    states = saved;
                    self.saved.newest = Some(offset);
                    break;
                }
                Err(reason) => {
                    let path = self.dir.join(names::file_name(offset, names::SNAPSHOT));
                    replayed.rebuilt.push(Rebuilt { path, reason });
                    self.remove_states(offset)?;
                }
            }
        }
        self.forget_strays(&offsets, newest)?;
        let from = states.end_offset();
        let mut batches = 0;
        self.replay(from, |header, _| {
            states.record(header, now_ms);
            batches += 1;
        })?;
        self.producers = states;
        replayed.batches = batches;
        Ok(replayed)
    }

    /// Removes saved states that stand between segments, but the newest, which goes when a newer one is written.
    fn forget_strays(&mut self, offsets: &[i64], newest: Option<i64>) -> Result<(), StorageError> {
        for &offset in offsets {
            let is_base = self.segments.iter().any(|segment| segment.base_offset() == offset);
            if is_base {
                continue;
            }
            if Some(offset) != newest && Some(offset) != self.saved.newest {
                self.remove_states(offset)?;
            }
        }
        Ok(())
    }

    /// Calls `observe` with the header and the position of each batch from the one that holds `from` on. Epochs that
    /// the checkpoint lacks are noted on the way. Damage within a segment ends the walk of that segment.
    pub(super) fn replay(
        &mut self,
        from: i64,
        mut observe: impl FnMut(&Header, u64),
    ) -> Result<(), StorageError> {
        if from >= self.log_end {
            return Ok(());
        }
        for number in self.segment_of(from)..self.segments.len() {
            let segment = &self.segments[number];
            if segment.size() == 0 {
                continue;
            }
            let end = self.segments.get(number + 1).map_or(self.log_end, Segment::base_offset);
            let file = segment.file()?;
            let start = segment.confirmed_start(&file, from);
            for batch in HeaderWalk::new(&file, start, segment.size()).within(segment.base_offset(), end) {
                match batch {
                    Ok((_, header)) if header.last_offset() < from => {}
                    Ok((position, header)) => {
                        self.epochs.note(header.partition_leader_epoch, header.base_offset);
                        observe(&header, position);
                    }
                    Err(WalkError::Bad { position, reason }) => {
                        tracing::error!(path = %segment.path().display(), position, reason, "damage in the log");
                        break;
                    }
                    Err(error) => return Err(segment.walk_failed(error)),
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Replayed {
    pub batches: u64,
    pub rebuilt: Vec<Rebuilt>,
}
