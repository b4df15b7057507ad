//! The in-sync replicas of a partition and how far each has come, from which the high watermarks follow. The leader
//! is a member like the others, so one replica alone is no special case. A watermark is the least end that every
//! member has reached, in log and lane each; a member that lags in either leaves the set.

use ottla_model::ids::BrokerId;

/// A replica's log ends. Offsets are exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    pub log_end: i64,
    pub lane_end: i64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    broker: BrokerId,
    reached: Reached,
}

/// The in-sync replicas, the leader among them.
#[derive(Clone, Debug)]
pub struct InSyncReplicas {
    leader: BrokerId,
    members: Vec<Member>,
}

impl InSyncReplicas {
    /// A set with the leader alone.
    pub fn new(leader: BrokerId, reached: Reached) -> InSyncReplicas {
        InSyncReplicas { leader, members: vec![Member { broker: leader, reached }] }
    }

    /// Number of members.
    pub fn len(&self) -> u32 {
        self.members.len() as u32
    }

    /// The members' ids.
    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.members.iter().map(|member| member.broker)
    }

    /// The leader appended.
    pub fn leader_reached(&mut self, reached: Reached) {
        let leader = self.leader;
        for member in self.members.iter_mut().filter(|member| member.broker == leader) {
            member.reached = reached;
        }
    }

    /// What every member has reached: the high watermarks of log and lane.
    pub fn watermarks(&self) -> Reached {
        let least = |end: fn(&Member) -> i64| self.members.iter().map(end).min().unwrap_or(0);
        Reached {
            log_end: least(|member| member.reached.log_end),
            lane_end: least(|member| member.reached.lane_end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermarks_are_the_least_that_all_members_reached() {
        let mut isr = InSyncReplicas::new(1, Reached { log_end: 10, lane_end: 3 });
        assert_eq!(isr.watermarks(), Reached { log_end: 10, lane_end: 3 });
        isr.members.push(Member { broker: 2, reached: Reached { log_end: 7, lane_end: 5 } });
        isr.leader_reached(Reached { log_end: 12, lane_end: 6 });
        assert_eq!(isr.watermarks(), Reached { log_end: 7, lane_end: 5 });
        assert_eq!(isr.brokers().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(isr.len(), 2);
    }
}
