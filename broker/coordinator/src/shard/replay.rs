//! Makes the state from the log again, record by record. Loading goes this way, and so do steps whose effect is what
//! their records say. A record of any kind may stand for itself: compaction takes away what came before it.

use std::sync::Arc;

use super::Shard;
use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::group::{Entry, Group};
use crate::offsets::{CommittedOffset, OffsetTable};
use crate::records::{GroupMetadataValue, Key, OffsetCommitValue, ReplayError};

impl Shard {
    /// Takes one record of the log. A kind that is not of classic or consumer groups is passed over.
    ///
    /// # Errors
    /// The bytes are not what they say they are; the state is as before.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        let Some(key) = Key::read(key)? else { return Ok(()) };
        match (key, value) {
            (Key::OffsetCommit { group, topic, partition }, Some(value)) => {
                let offset = CommittedOffset::from_record(&OffsetCommitValue::read(value)?);
                self.replay_offset(group, topic, partition, offset);
            }
            (Key::OffsetCommit { group, topic, partition }, None) => {
                if let Some(entry) = self.groups.get_mut(group) {
                    entry.offsets.remove(topic, partition);
                    self.drop_if_nothing(group);
                }
            }
            (Key::GroupMetadata { group }, Some(value)) => {
                let value = GroupMetadataValue::read(value)?;
                let name = self.name_of(group);
                self.put_group(&name, Group::Classic(ClassicGroup::from_record(&name, &value)));
            }
            (Key::GroupMetadata { group }, None) => {
                if let Some(Entry { group: Group::Classic(_), .. }) = self.groups.get(group) {
                    self.leave_offsets(group);
                }
            }
            (key, value) => self.replay_consumer(&key, value)?,
        }
        Ok(())
    }

    fn replay_offset(&mut self, group: &str, topic: &str, partition: i32, offset: CommittedOffset) {
        let entry = match self.groups.get_mut(group) {
            Some(entry) => entry,
            None => {
                let name: Arc<str> = group.into();
                self.groups.entry(Arc::clone(&name)).or_insert_with(|| Entry::simple(&name))
            }
        };
        entry.offsets.replay(topic, partition, offset);
    }

    fn replay_consumer(&mut self, key: &Key<'_>, value: Option<&[u8]>) -> Result<(), ReplayError> {
        let group = key.group();
        let known = matches!(self.groups.get(group), Some(Entry { group: Group::Consumer(_), .. }));
        if !known {
            if value.is_none() {
                return Ok(());
            }
            let name = self.name_of(group);
            let mut consumer = ConsumerGroup::new(&name);
            if consumer.replay(key, value)? {
                self.put_group(&name, Group::Consumer(consumer));
            }
            return Ok(());
        }
        if let Some(Entry { group: Group::Consumer(consumer), .. }) = self.groups.get_mut(group)
            && !consumer.replay(key, value)?
        {
            self.leave_offsets(group);
        }
        Ok(())
    }

    /// The name that the group is kept under, so that it is not kept twice.
    pub(super) fn name_of(&self, group: &str) -> Arc<str> {
        self.groups.get_key_value(group).map_or_else(|| group.into(), |(name, _)| Arc::clone(name))
    }

    /// Puts the group in the place of what bore its name, whose offsets it takes over.
    pub(super) fn put_group(&mut self, name: &Arc<str>, group: Group) {
        match self.groups.get_mut(&**name) {
            Some(entry) => {
                entry.group.cancel(&mut self.timers);
                entry.group = group;
            }
            None => {
                self.groups.insert(Arc::clone(name), Entry { group, offsets: OffsetTable::default() });
            }
        }
    }

    /// Takes the group away; offsets that it still has are a simple group's.
    pub(super) fn leave_offsets(&mut self, group: &str) {
        let name = self.name_of(group);
        self.put_group(&name, Entry::simple(&name).group);
        self.drop_if_nothing(group);
    }

    /// Drops a group of which neither log nor memory says anything.
    pub(super) fn drop_if_nothing(&mut self, group: &str) {
        if let Some(entry) = self.groups.get_mut(group)
            && entry.offsets.is_empty()
            && matches!(&entry.group, Group::Classic(classic) if classic.is_nothing())
        {
            entry.group.cancel(&mut self.timers);
            self.groups.remove(group);
        }
    }
}
