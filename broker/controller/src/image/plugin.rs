//! One plugin of the image: a name and the versions that were pushed under it.

use std::sync::Arc;

use semver::Version;

use crate::record::PluginRecord;

pub type PluginVersion = PluginRecord;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    pub name: Arc<str>,
    /// By version, oldest first; never empty. Versions that are no semantic version stand before all others.
    pub versions: Vec<Arc<PluginVersion>>,
}

impl Plugin {
    pub fn version(&self, version: &str) -> Option<&Arc<PluginVersion>> {
        self.versions.iter().find(|v| v.version == version)
    }

    /// What a topic gets that names the plugin without a version: the highest release, or, where there are only
    /// pre-releases, the highest of them.
    pub fn latest(&self) -> Option<&Arc<PluginVersion>> {
        let released = |v: &&Arc<PluginVersion>| Version::parse(&v.version).is_ok_and(|v| v.pre.is_empty());
        self.versions.iter().rfind(released).or(self.versions.last())
    }

    pub(super) fn insert(&mut self, record: Arc<PluginVersion>) {
        self.versions.retain(|v| v.version != record.version);
        let order = |v: &PluginVersion| (Version::parse(&v.version).ok(), v.version.clone());
        let new = order(&record);
        let at = self.versions.partition_point(|v| order(v) < new);
        self.versions.insert(at, record);
    }

    pub(super) fn remove(&mut self, version: &str) -> bool {
        let before = self.versions.len();
        self.versions.retain(|v| v.version != version);
        self.versions.len() != before
    }
}
