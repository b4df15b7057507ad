//! Where a group stands: what it has committed, where the logs end, and who reads there, put together from requests that
//! every Kafka-compatible cluster answers.

use ottla_client::groups::{CommittedOffset, Group};
use ottla_client::offsets::{At, find_all};
use ottla_client::{ClientError, Cluster, Groups};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One partition that a group has committed or reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub topic: String,
    pub partition: i32,
    /// None where nothing is committed.
    pub committed: Option<CommittedOffset>,
    /// None where the topic is gone or has no leader.
    pub end: Option<i64>,
    pub member: Option<Reader>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    pub id: String,
    pub client_id: String,
    pub host: String,
}

impl Place {
    pub fn offset(&self) -> Option<i64> {
        self.committed.as_ref().map(|committed| committed.offset)
    }

    /// Never below 0: an end that was looked up before a later commit is no error.
    pub fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.offset()?).max(0))
    }

    pub fn json(&self) -> Value {
        let reader = self.member.as_ref();
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset(),
            "leader_epoch": self.committed.as_ref().map(|committed| committed.leader_epoch).filter(|epoch| *epoch >= 0),
            "metadata": self.committed.as_ref().map(|committed| &committed.metadata).filter(|text| !text.is_empty()),
            "end": self.end,
            "lag": self.lag(),
            "member": reader.map(|reader| &reader.id),
            "client_id": reader.map(|reader| &reader.client_id),
            "host": reader.map(|reader| &reader.host),
        })
    }
}

/// By topic and partition.
pub async fn places(cluster: &Cluster, group: &Group) -> Result<Vec<Place>, ClientError> {
    // Offsets before ends, so that no lag is counted that a commit between them has settled.
    let committed = Groups::new(cluster).offsets(&group.id).await?;
    let mut places = join(committed, group);
    let partitions: Vec<_> = places.iter().map(|place| (place.topic.clone(), place.partition)).collect();
    let ends = find_all(cluster, partitions, At::Latest).await?;
    for place in &mut places {
        place.end = ends.get(&(place.topic.clone(), place.partition)).copied().flatten();
    }
    Ok(places)
}

fn join(committed: Vec<CommittedOffset>, group: &Group) -> Vec<Place> {
    let mut places: BTreeMap<(String, i32), Place> = BTreeMap::new();
    let empty = |topic: &str, partition: i32| Place {
        topic: topic.to_owned(),
        partition,
        committed: None,
        end: None,
        member: None,
    };
    for one in committed {
        let place = empty(&one.topic, one.partition);
        places.insert((one.topic.clone(), one.partition), Place { committed: Some(one), ..place });
    }
    for member in &group.members {
        for (topic, partitions) in &member.assignment {
            for partition in partitions {
                let place =
                    places.entry((topic.clone(), *partition)).or_insert_with(|| empty(topic, *partition));
                place.member = Some(Reader {
                    id: member.id.clone(),
                    client_id: member.client_id.clone(),
                    host: member.host.clone(),
                });
            }
        }
    }
    places.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::groups::{GroupKind, GroupState, Member};

    #[test]
    fn what_is_committed_and_what_is_read_come_together() {
        let offset = |partition| CommittedOffset {
            topic: "t".to_owned(),
            partition,
            offset: 7,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let member = Member {
            id: "m".to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            host: "/127.0.0.1".to_owned(),
            epoch: None,
            is_classic: None,
            topics: Vec::new(),
            topic_regex: None,
            assignment: [("t".to_owned(), vec![1, 2])].into_iter().collect(),
            target: None,
        };
        let group = Group {
            id: "g".to_owned(),
            kind: GroupKind::Classic,
            state: GroupState::Stable,
            protocol_type: "consumer".to_owned(),
            assignor: "range".to_owned(),
            epochs: None,
            members: vec![member],
        };
        let mut places = join(vec![offset(0), offset(1)], &group);
        let seen: Vec<_> =
            places.iter().map(|place| (place.partition, place.offset(), place.member.is_some())).collect();
        assert_eq!(seen, [(0, Some(7), false), (1, Some(7), true), (2, None, true)]);
        places[0].end = Some(10);
        places[1].end = Some(5);
        let lags: Vec<_> = places.iter().map(Place::lag).collect();
        assert_eq!(lags, [Some(3), Some(0), None]);
    }
}
