//! The broker's surroundings as shards see them: topics and settings of the newest metadata image, and which topics
//! were deleted since a shard last looked. Made once for each image and shared; the slots take it for each request.
//!
//! Invariant: a shard that decides by a view has forgotten the topics that were deleted before that view.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ottla_controller::Image;
use ottla_controller::image::Topic;
use ottla_coordinator::{Cluster, GroupOverrides, Settings, TopicView};
use ottla_model::ids::TopicId;
use parking_lot::Mutex;
use uuid::Uuid;

use super::settings;
use crate::config::Config;
use crate::configs::group_bounds::Bounds;
use crate::metadata::Metadata;

/// One moment of the cluster.
pub struct View {
    image: Arc<Image>,
    settings: Settings,
    bounds: Bounds,
    topics_version: u64,
    /// How many topics were deleted before it, since the broker started.
    pub deletions: u64,
}

fn read(config: &Config, image: &Image) -> (Settings, Bounds) {
    let layers = config.layers(image);
    (settings::settings(&layers), Bounds::read(&layers))
}

fn view_of(topic: &Topic) -> TopicView {
    TopicView {
        id: topic.id,
        name: topic.name.clone(),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
    }
}

impl Cluster for View {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn overrides(&self, group: &str) -> GroupOverrides {
        settings::overrides(&self.image, &self.bounds, group)
    }

    fn topic(&self, name: &str) -> Option<TopicView> {
        self.image.topic(name).map(|topic| view_of(topic))
    }

    fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        self.image.topic_by_id(id).map(|topic| view_of(topic))
    }

    fn each_topic(&self, each: &mut dyn FnMut(&TopicView)) {
        self.image.topics().for_each(|topic| each(&view_of(topic)));
    }

    fn topics_version(&self) -> u64 {
        self.topics_version
    }

    fn unique(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// Makes views as the metadata changes.
pub struct Views {
    metadata: Arc<Metadata>,
    config: Arc<Config>,
    current: ArcSwap<View>,
    /// Names of deleted topics that some shard has not forgotten yet, each with its number; the lock is also held
    /// while a new view is made.
    deleted: Mutex<VecDeque<(u64, Arc<str>)>>,
}

impl Views {
    pub fn new(metadata: Arc<Metadata>, config: Arc<Config>) -> Views {
        let image = metadata.image();
        let (settings, bounds) = read(&config, &image);
        let first = View { image, settings, bounds, topics_version: 1, deletions: 0 };
        Views { metadata, config, current: ArcSwap::from_pointee(first), deleted: Mutex::default() }
    }

    /// The view of the newest image.
    pub fn now(&self) -> Guard<Arc<View>> {
        let view = self.current.load();
        if view.image.version() == self.metadata.image().version() {
            return view;
        }
        drop(view);
        self.renew();
        self.current.load()
    }

    fn renew(&self) {
        let mut deleted = self.deleted.lock();
        let before = self.current.load_full();
        // What was touched is asked for after the image was taken, so it is never too little.
        let image = self.metadata.image();
        let touched = self.metadata.touched_since(before.image.version());
        if image.version() == before.image.version() {
            return;
        }
        let gone = |topic: &&Arc<Topic>| image.topic_by_id(topic.id).is_none();
        let gone: Vec<Arc<str>> = match &touched {
            Some(touched) => {
                let known = touched.iter().filter_map(|id| before.image.topic_by_id(*id));
                known.filter(gone).map(|topic| topic.name.clone()).collect()
            }
            None => before.image.topics().filter(gone).map(|topic| topic.name.clone()).collect(),
        };
        let mut deletions = before.deletions;
        for name in gone {
            deletions += 1;
            deleted.push_back((deletions, name));
        }
        let changed = touched.is_none_or(|touched| !touched.is_empty());
        let (settings, bounds) = read(&self.config, &image);
        let view = View {
            settings,
            bounds,
            image,
            topics_version: before.topics_version + u64::from(changed),
            deletions,
        };
        self.current.store(Arc::new(view));
    }

    /// The topics that were deleted after the first `seen` ones.
    pub fn deleted_after(&self, seen: u64) -> Vec<Arc<str>> {
        let deleted = self.deleted.lock();
        deleted.iter().filter(|(number, _)| *number > seen).map(|(_, name)| name.clone()).collect()
    }

    /// Every shard has forgotten the first `seen` ones.
    pub fn forget_deleted(&self, seen: u64) {
        let mut deleted = self.deleted.lock();
        while deleted.front().is_some_and(|(number, _)| *number <= seen) {
            deleted.pop_front();
        }
    }
}
