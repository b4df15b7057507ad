//! `meta.properties`, version 1: which node of which cluster a folder belongs to. Read and written once, when the
//! folder is opened; a mismatch means that the operator pointed a broker at another's data.

use std::path::Path;

use ottla_model::ids::TopicId;

use crate::disk::{self, Durability};
use crate::error::StorageError;

const META_PROPERTIES: &str = "meta.properties";
const VERSION: &str = "1";
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub cluster_id: String,
    pub node_id: i32,
    /// Names the folder itself among those of the broker (KIP-858).
    pub directory_id: TopicId,
}

/// Reads the file, or makes it for a new folder.
pub(super) fn ensure(dir: &Path, node_id: i32, cluster_id: Option<&str>) -> Result<Owner, StorageError> {
    let path = dir.join(META_PROPERTIES);
    let foreign = |reason| StorageError::Foreign { path: dir.to_path_buf(), reason };
    let known = disk::read_small(&path, FILE_BYTES_MAX)?;
    let properties = Properties::parse(known.as_deref().unwrap_or_default());
    if known.is_some() && properties.get("version") != Some(VERSION) {
        return Err(foreign(format!(
            "its meta.properties has version {}, known is {VERSION}",
            properties.get("version").unwrap_or("none")
        )));
    }
    let owner = Owner {
        cluster_id: properties
            .get("cluster.id")
            .or(cluster_id)
            .map_or_else(|| TopicId::random().to_string(), str::to_owned),
        node_id: properties
            .get("node.id")
            .map_or(Some(node_id), |id| id.parse().ok())
            .ok_or_else(|| foreign("node.id in its meta.properties is no number".to_owned()))?,
        directory_id: properties
            .get("directory.id")
            .map_or_else(|| Some(TopicId::random()), |id| id.parse().ok())
            .ok_or_else(|| foreign("directory.id in its meta.properties is no id".to_owned()))?,
    };
    if owner.node_id != node_id {
        return Err(foreign(format!("it is of node {}, this one is node.id={node_id}", owner.node_id)));
    }
    if let Some(cluster_id) = cluster_id
        && owner.cluster_id != cluster_id
    {
        return Err(foreign(format!("it is of cluster {}, this one is {cluster_id}", owner.cluster_id)));
    }
    let is_complete =
        ["cluster.id", "node.id", "directory.id"].iter().all(|key| properties.get(key).is_some());
    if !is_complete {
        let text = format!(
            "#\ncluster.id={}\ndirectory.id={}\nnode.id={node_id}\nversion={VERSION}\n",
            owner.cluster_id, owner.directory_id
        );
        disk::replace(&path, text.as_bytes(), Durability::Synced)?;
    }
    Ok(owner)
}

/// `key=value` lines of a Java properties file, as far as Kafka's writer uses them.
struct Properties {
    pairs: Vec<(String, String)>,
}

impl Properties {
    fn parse(bytes: &[u8]) -> Properties {
        let text = String::from_utf8_lossy(bytes);
        let pairs = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#') && !line.starts_with('!'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().replace('\\', "")))
            .collect();
        Properties { pairs }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}
