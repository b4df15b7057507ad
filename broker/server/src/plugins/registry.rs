//! Which plugins there are, and their machine code. Cluster metadata names the uploaded ones and the digest-addressed
//! store holds their bytes; the shipped ones are part of the program. Attachments and the HTTP admin ask here.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use ottla_model::error::KafkaError;
use ottla_plugin_host::{Compiled, Host, Kind};
use parking_lot::Mutex;
use semver::Version;

use super::cluster::Cluster;
use super::embedded;
use super::settings::invalid;
use super::store::Store;
use super::version::{Reference, Registered, latest};

/// Compiled components that are kept in memory beside those that are attached.
const COMPILED_MAX: usize = 16;

/// All plugins that this broker knows.
pub struct Registry {
    host: Host,
    pub(super) store: Store,
    cluster: Arc<dyn Cluster>,
    shipped: OnceLock<Vec<Registered>>,
    compiled: Mutex<VecDeque<Compiled>>,
}

impl Registry {
    pub fn new(host: Host, store: Store, cluster: Arc<dyn Cluster>) -> Registry {
        Registry { host, store, cluster, shipped: OnceLock::new(), compiled: Mutex::default() }
    }

    /// Every version of every plugin, by name and then by version.
    pub fn versions(&self) -> Vec<Registered> {
        let mut all = self.shipped().to_vec();
        all.extend(self.cluster.registered());
        all.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        all
    }

    /// The versions of one plugin, ascending.
    pub fn versions_of(&self, name: &str) -> Vec<Registered> {
        self.versions().into_iter().filter(|version| version.name == name).collect()
    }

    pub fn find(&self, name: &str, version: &Version) -> Option<Registered> {
        self.versions_of(name).into_iter().find(|found| found.version == *version)
    }

    /// The version that a reference means now. `key` is the config that it stands in.
    ///
    /// # Errors
    /// INVALID_CONFIG with a sentence that names the plugins, or the versions, that there are.
    pub fn resolve(&self, key: &str, reference: &Reference) -> Result<Registered, KafkaError> {
        let versions = self.versions_of(&reference.name);
        let found = match &reference.version {
            Some(version) => versions.iter().find(|found| found.version == *version),
            None => latest(&versions, |found| &found.version),
        };
        found.cloned().ok_or_else(|| {
            if versions.is_empty() {
                let mut names: Vec<String> =
                    self.versions().into_iter().map(|version| version.name).collect();
                names.dedup();
                let name = &reference.name;
                return invalid(format!(
                    "{key}={reference}: there is no plugin {name}; there are {}, and `ottla plugin push` \
                     brings another one",
                    names.join(", ")
                ));
            }
            let known: Vec<String> = versions.iter().map(|found| found.version.to_string()).collect();
            invalid(format!(
                "{key}={reference}: the plugin {} has no such version; it has {}",
                reference.name,
                known.join(", ")
            ))
        })
    }

    /// Machine code of a version. Blocks: reads and perhaps compiles.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub fn compile(&self, version: &Registered) -> Result<Compiled, String> {
        if let Some(compiled) = self.cached(&version.digest) {
            return Ok(compiled);
        }
        let compiled = match self.shipped_bytes(version) {
            Some(bytes) => self.host.compile(bytes),
            None => {
                let bytes =
                    self.store.get(&version.digest, version.size_bytes).map_err(|error| error.to_string())?;
                self.host.compile(&bytes)
            }
        };
        let compiled = compiled.map_err(|error| error.to_string())?;
        self.keep(&compiled);
        Ok(compiled)
    }

    /// Keeps machine code that was just made.
    pub(super) fn keep(&self, compiled: &Compiled) {
        let mut kept = self.compiled.lock();
        if kept.iter().all(|other| other.digest() != compiled.digest()) {
            kept.push_back(compiled.clone());
        }
        if kept.len() > COMPILED_MAX {
            kept.pop_front();
        }
    }

    fn cached(&self, digest: &str) -> Option<Compiled> {
        self.compiled.lock().iter().find(|compiled| compiled.digest() == digest).cloned()
    }

    fn shipped_bytes(&self, version: &Registered) -> Option<&'static [u8]> {
        let shipped =
            version.shipped.then(|| embedded::SHIPPED.iter().find(|(name, _)| *name == version.name));
        shipped.flatten().map(|(_, bytes)| *bytes)
    }

    fn shipped(&self) -> &[Registered] {
        self.shipped.get_or_init(|| {
            let describe = |(name, bytes): &(&str, &'static [u8])| match self.host.inspect(bytes) {
                Ok(inspection) => Some(Registered {
                    name: (*name).to_owned(),
                    version: Version::parse(embedded::VERSION).expect("the constant is a version"),
                    digest: inspection.digest.clone(),
                    kinds: kind_names(&inspection.kinds),
                    tenant: None,
                    size_bytes: bytes.len() as u64,
                    registered_ms: 0,
                    registered_by: "shipped with the broker".into(),
                    shipped: true,
                }),
                Err(error) => {
                    tracing::error!(plugin = name, %error, "a plugin that ships with the broker is not usable");
                    None
                }
            };
            embedded::SHIPPED.iter().filter_map(describe).collect()
        })
    }
}

pub(super) fn kind_names(kinds: &[Kind]) -> Vec<String> {
    kinds.iter().map(|kind| kind.name().to_owned()).collect()
}
