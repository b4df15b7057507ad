//! Verification of a partition in use: log and lane, segment by segment, with the lock held only to see what is next. An
//! operator asks for it; nothing is changed, and damage is reported, never repaired: the next unclean start cuts it
//! off, and until then a fetch carries it to the client's own check.

use std::io;

use ottla_model::error::KafkaError;
use ottla_storage::{Damage, Log, StorageError, Verified, verify_side_files};

use super::{Partition, State};

/// What the verification of a partition found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionVerified {
    pub log: Verified,
    /// `None` if there is no lane.
    pub lane: Option<Verified>,
    /// False if it was ended before everything was looked at.
    pub is_complete: bool,
}

/// The log or the lane of a partition.
type Which = fn(&State) -> Option<&Log>;

impl Partition {
    /// Compares every batch with its CRC and its neighbours, the indexes with the batches, and reads the saved states.
    /// Blocks for as long as reading everything takes; `goes_on` is asked often and ends it early.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR where the disk cannot be read, NOT_LEADER_OR_FOLLOWER.
    pub fn verify(&self, goes_on: &dyn Fn() -> bool) -> Result<PartitionVerified, KafkaError> {
        self.ensure_serving(&self.state.lock())?;
        let has_lane = self.state.lock().lane.is_some();
        let log = self.verify_log(|state| Some(&state.log), goes_on).map_err(|error| self.failed(&error))?;
        let of_lane: Which = |state| state.lane.as_ref().map(|lane| &lane.log);
        let lane = match has_lane {
            true => Some(self.verify_log(of_lane, goes_on).map_err(|error| self.failed(&error))?),
            false => None,
        };
        Ok(PartitionVerified { log, lane, is_complete: goes_on() })
    }

    fn verify_log(&self, which: Which, goes_on: &dyn Fn() -> bool) -> Result<Verified, StorageError> {
        let mut found = Verified::default();
        let mut from = i64::MIN;
        while goes_on() {
            self.ensure_online()?;
            let check = {
                let state = self.state.lock();
                let Some(log) = which(&state) else { break };
                let next = log.segments().map(|segment| segment.base_offset).find(|base| *base >= from);
                let Some(base) = next else { break };
                from = base.saturating_add(1);
                log.segment_check(base)
            };
            let verified = match check {
                Ok(Some(check)) => check.run(goes_on)?,
                Ok(None) => continue,
                Err(StorageError::Io { path, source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    let reason = "it is missing".to_owned();
                    let damages = vec![Damage { path, position: 0, offsets: None, reason }];
                    Verified { damages, ..Verified::default() }
                }
                Err(error) => return Err(error),
            };
            found.add(verified);
        }
        let side = which(&self.state.lock()).map(Log::side_files).transpose()?;
        if let Some((dir, saved)) = side {
            found.add(verify_side_files(&dir, &saved));
        }
        Ok(found)
    }
}
