//! Who consumes a partition now, kept for a moment, so that many questions ask the groups once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Whoever knows the members of this broker's groups.
pub(crate) trait Members: Send + Sync {
    /// Every partition that a member consumes: group, topic, partition, client id, client host.
    fn each_owner(&self, each: &mut dyn FnMut(&str, &str, i32, &str, &str));
}

/// How long an answer of the groups is good for.
const FRESH_MS: i64 = 1_000;
/// Partitions with an owner that are remembered.
const OWNED_MAX: usize = 200_000;

/// A member of a group, as it consumes a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// As Kafka writes it: `/127.0.0.1`.
    pub host: Arc<str>,
    pub client_id: Arc<str>,
}

/// By topic and partition.
type OwnersOfGroup = HashMap<(Arc<str>, i32), Owner>;

/// By group, topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    by_group: HashMap<Arc<str>, OwnersOfGroup>,
    count: usize,
}

impl Owners {
    pub fn add(&mut self, group: &str, topic: &str, partition: i32, client_id: &str, host: &str) {
        if self.count >= OWNED_MAX {
            return;
        }
        self.count += 1;
        let owner = Owner { host: host.into(), client_id: client_id.into() };
        if let Some(owned) = self.by_group.get_mut(group) {
            owned.insert((topic.into(), partition), owner);
        } else {
            self.by_group.insert(group.into(), HashMap::from([((topic.into(), partition), owner)]));
        }
    }

    pub fn of(&self, group: &str, topic: &str, partition: i32) -> Owner {
        let owned = self.by_group.get(group);
        owned.and_then(|owned| owned.get(&(Arc::from(topic), partition))).cloned().unwrap_or_default()
    }
}

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct KnownOwners {
    known: Mutex<(Option<i64>, Arc<Owners>)>,
}

impl KnownOwners {
    pub fn known(&self) -> Arc<Owners> {
        self.known.lock().1.clone()
    }

    pub fn set(&self, owners: Owners) {
        self.known.lock().1 = Arc::new(owners);
    }

    /// What the members' groups say, or said a moment ago.
    pub fn of(&self, members: &dyn Members, now_ms: i64) -> Arc<Owners> {
        let mut known = self.known.lock();
        let is_fresh = known.0.is_some_and(|at_ms| (0..FRESH_MS).contains(&now_ms.saturating_sub(at_ms)));
        if !is_fresh {
            let mut owners = Owners::default();
            members.each_owner(&mut |group, topic, partition, client_id, host| {
                owners.add(group, topic, partition, client_id, host);
            });
            *known = (Some(now_ms), Arc::new(owners));
        }
        known.1.clone()
    }
}
