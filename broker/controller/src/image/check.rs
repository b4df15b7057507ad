//! What is true of every image, whatever records led there. Tests call it after each prefix of a log; the
//! server calls it once on a snapshot that it read from disk.

use ottla_model::topic_name::may_collide;

use super::{Image, Topic, apply::contradiction, without_dots};
use crate::bounds::{PRODUCER_ID_END, SWITCHES_MAX};
use crate::record::SwitchKind;

impl Image {
    /// The first contradiction in the image, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.topics.size() != self.topics_by_id.size() {
            return Err(format!(
                "{} topic names, {} topic ids",
                self.topics.size(),
                self.topics_by_id.size()
            ));
        }
        for (name, topic) in self.topics.iter() {
            if *name != topic.name || self.topic_by_id(topic.id) != Some(topic) {
                return Err(format!("topic {name} is not the same by name and by id"));
            }
            self.check_topic(topic)?;
        }
        let colliding = self.topics.keys().filter(|name| may_collide(name)).count();
        if colliding != self.colliding.size() {
            return Err("a topic that is gone still bars names like its own".to_owned());
        }
        let partitions: usize = self.topics.values().map(|t| t.partitions.len()).sum();
        if partitions != self.partition_count {
            return Err(format!("{partitions} partitions, counted as {}", self.partition_count));
        }
        if let Some((group, _)) = self.group_configs.iter().find(|(_, configs)| configs.is_empty()) {
            return Err(format!("group {group} is listed without a config"));
        }
        for plugin in self.plugins.values() {
            if plugin.versions.is_empty() {
                return Err(format!("plugin {} has no version", plugin.name));
            }
        }
        if !(0..=PRODUCER_ID_END).contains(&self.next_producer_id) {
            return Err(format!("the next producer id is {}", self.next_producer_id));
        }
        Ok(())
    }

    fn check_topic(&self, topic: &Topic) -> Result<(), String> {
        let name = &topic.name;
        if topic.partitions.is_empty() {
            return Err(format!("topic {name} has no partition"));
        }
        for (index, partition) in topic.partitions.iter().enumerate() {
            if let Some(reason) = contradiction(partition) {
                return Err(format!("partition {index} of topic {name}: {reason}"));
            }
        }
        for kind in [SwitchKind::Partitioner, SwitchKind::Retention] {
            let count = topic.switches.iter().filter(|switch| switch.kind == kind).count();
            if count > SWITCHES_MAX {
                return Err(format!("topic {name} remembers {count} switches of its {kind}"));
            }
        }
        if may_collide(name) && !self.colliding.contains_key(without_dots(name).as_str()) {
            return Err(format!("topic {name} does not bar names like its own"));
        }
        Ok(())
    }
}
