//! Plugin versions come and go, and go live on topics. A version is its digest: pushing the same bytes again
//! changes nothing, pushing other bytes under the same version is refused, and what is attached stays.

use ottla_model::error::{ErrorCode, KafkaError};
use semver::Version;

use super::{Decision, refuse};
use crate::bounds::{
    LABEL_BYTES_MAX, PLUGIN_KINDS_MAX, PLUGIN_NAME_BYTES_MAX, PLUGIN_VERSION_BYTES_MAX, PLUGIN_VERSIONS_MAX,
    PLUGINS_MAX,
};
use crate::image::{Image, Topic};
use crate::record::{PluginRecord, PluginRemovedRecord, Record, SwitchKind, SwitchRecord};

/// The roles that a plugin can have on a topic.
const ROLES: [SwitchKind; 2] = [SwitchKind::Partitioner, SwitchKind::Retention];

/// A component that was inspected and lies in the store of a majority.
#[derive(Clone, Debug)]
pub struct NewPlugin {
    pub name: String,
    pub version: String,
    /// SHA-256, 64 hexadecimal digits in lower case.
    pub digest: String,
    pub kinds: Vec<String>,
    pub tenant: Option<String>,
    pub size_bytes: u64,
    /// Who pushed it.
    pub by: String,
}

/// Registers a version; answers false where the very same was there already. Errors: INVALID_REQUEST for a name,
/// version or digest that is none, DUPLICATE_RESOURCE for other bytes under a known version, POLICY_VIOLATION at
/// a bound.
pub fn register_plugin(image: &Image, plugin: NewPlugin, now_ms: i64) -> Decision<bool> {
    check_names(&plugin)?;
    let NewPlugin { name, version, digest, kinds, tenant, size_bytes, by } = plugin;
    let known = image.plugin(&name);
    if let Some(existing) = known.and_then(|plugin| plugin.version(&version)) {
        if existing.digest == digest && existing.tenant == tenant {
            return Ok((Vec::new(), false));
        }
        return refuse(
            ErrorCode::DuplicateResource,
            format!("plugin {name}@{version} exists already with other content; push it as a new version"),
        );
    }
    if let Some(other) = known.and_then(|plugin| plugin.versions.iter().find(|v| v.tenant != tenant)) {
        return refuse(
            ErrorCode::PolicyViolation,
            format!("plugin name {name} belongs to {}; choose another name", owner(&other.tenant)),
        );
    }
    let full = match known {
        None => image.plugin_count() >= PLUGINS_MAX,
        Some(plugin) => plugin.versions.len() >= PLUGIN_VERSIONS_MAX,
    };
    if full {
        return refuse(
            ErrorCode::PolicyViolation,
            format!(
                "there is no room for {name}@{version}: at most {PLUGINS_MAX} plugins of {PLUGIN_VERSIONS_MAX} \
                 versions each; delete versions that are not attached"
            ),
        );
    }
    let record = PluginRecord {
        name,
        version,
        digest,
        kinds,
        tenant,
        size_bytes,
        registered_ms: now_ms,
        registered_by: by,
    };
    Ok((vec![Record::Plugin(record)], true))
}

fn owner(tenant: &Option<String>) -> String {
    tenant.as_ref().map_or("the cluster".to_owned(), |tenant| format!("tenant {tenant}"))
}

fn check_names(plugin: &NewPlugin) -> Result<(), KafkaError> {
    let refuse = |message: String| refuse(ErrorCode::InvalidRequest, message);
    let NewPlugin { name, version, digest, kinds, tenant, by, .. } = plugin;
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.starts_with(letter)
        || !name.chars().all(|c| letter(c) || c == '-' || c == '_')
        || name.len() > PLUGIN_NAME_BYTES_MAX
    {
        return refuse(format!(
            "'{name}' is no plugin name: use a-z, 0-9, '-' and '_', begin with a letter or digit, at most \
             {PLUGIN_NAME_BYTES_MAX} characters"
        ));
    }
    if version.len() > PLUGIN_VERSION_BYTES_MAX || Version::parse(version).is_err() {
        return refuse(format!("'{version}' is no version: use MAJOR.MINOR.PATCH, as in 1.2.0"));
    }
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return refuse(format!("'{digest}' is no SHA-256 digest: use 64 hexadecimal digits in lower case"));
    }
    if kinds.is_empty() || kinds.len() > PLUGIN_KINDS_MAX {
        return refuse(format!("a plugin has 1 to {PLUGIN_KINDS_MAX} kinds, not {}", kinds.len()));
    }
    let labels = kinds.iter().chain(tenant).chain([by]);
    if let Some(long) = labels.into_iter().find(|label| label.len() > LABEL_BYTES_MAX) {
        let start: String = long.chars().take(32).collect();
        return refuse(format!("'{start}…' is longer than {LABEL_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Removes a version. Errors: RESOURCE_NOT_FOUND, or POLICY_VIOLATION while a topic uses it.
pub fn delete_plugin(image: &Image, name: &str, version: &str) -> Decision<()> {
    if image.plugin(name).and_then(|plugin| plugin.version(version)).is_none() {
        return refuse(ErrorCode::ResourceNotFound, format!("there is no plugin {name}@{version}"));
    }
    let topics = attached_topics(image, name, version);
    if !topics.is_empty() {
        let more = topics.len().saturating_sub(3);
        let some = topics[..topics.len() - more].join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return refuse(
            ErrorCode::PolicyViolation,
            format!("plugin {name}@{version} is attached to {some}{more}; detach it first"),
        );
    }
    let record = PluginRemovedRecord { name: name.to_owned(), version: version.to_owned() };
    Ok((vec![Record::PluginRemoved(record)], ()))
}

/// The topics that a version serves: their config names it, or names the plugin without a version while this is
/// the latest or the one that went live last.
pub fn attached_topics(image: &Image, name: &str, version: &str) -> Vec<String> {
    let latest = image.plugin(name).and_then(|plugin| plugin.latest()).is_some_and(|v| v.version == version);
    let live =
        |topic: &Topic, role| topic.live_plugin(role).is_some_and(|p| p.name == name && p.version == version);
    let uses = |topic: &Topic, role: SwitchKind| {
        topic.configs.get(role.config()).is_some_and(|value| match value.split_once('@') {
            Some((n, v)) => n == name && v == version,
            None => value == name && (latest || live(topic, role)),
        })
    };
    image
        .topics()
        .filter(|topic| ROLES.into_iter().any(|role| uses(topic, role)))
        .map(|topic| topic.name.to_string())
        .collect()
}

/// Records that another plugin version or config is live on a topic in one role. Errors: UNKNOWN_TOPIC_ID.
pub fn record_switch(image: &Image, mut switch: SwitchRecord) -> Decision<()> {
    let id = switch.topic_id;
    let Some(topic) = image.topic_by_id(id) else {
        return refuse(ErrorCode::UnknownTopicId, format!("there is no topic with the id {id}"));
    };
    switch.offsets.truncate(topic.partitions.len());
    switch.by = switch.by.chars().take(LABEL_BYTES_MAX / 4).collect();
    Ok((vec![Record::Switch(switch)], ()))
}
