//! What a plugin is and what it is attached to. The server builds these from cluster metadata; the contract module
//! lowers them into the component.

use std::fmt;
use std::ops::BitOr;

/// The kinds of plugin that this broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `partition-keys`: sees keys and nothing else.
    #[serde(rename = "partition-keys")]
    Keys,
    /// `partition-records`: says in `configure` which fields it reads.
    #[serde(rename = "partition-records")]
    Records,
    /// `retain-segments`: decides which segments stay.
    RetainSegments,
    /// `retain-records`: decides which records of a segment stay.
    RetainRecords,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Keys, Kind::Records, Kind::RetainSegments, Kind::RetainRecords];

    /// True if plugins of this kind say where records go.
    pub fn is_partitioner(self) -> bool {
        matches!(self, Kind::Keys | Kind::Records)
    }

    /// True if plugins of this kind say how long records stay.
    pub fn is_retention(self) -> bool {
        matches!(self, Kind::RetainSegments | Kind::RetainRecords)
    }

    /// The name of the kind's interface in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Keys => "partition-keys",
            Kind::Records => "partition-records",
            Kind::RetainSegments => "retain-segments",
            Kind::RetainRecords => "retain-records",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of record fields. Only what is in a plugin's set is copied into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u8);

impl Fields {
    pub const NONE: Fields = Fields(0);
    pub const KEYS: Fields = Fields(1);
    pub const VALUES: Fields = Fields(2);
    pub const HEADERS: Fields = Fields(4);
    pub const TIMESTAMPS: Fields = Fields(8);

    /// True if every field of `other` is in this set.
    pub fn contains(self, other: Fields) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Fields {
    type Output = Fields;
    fn bitor(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }
}

/// A plugin's name and version, and the SHA-256 of its component in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub name: String,
    pub version: String,
    pub digest: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The topic that a plugin is attached to. `tenant` is empty where there are none. Retention policies do not see
/// `partitions`.
#[derive(Clone, Debug, Default)]
pub struct Topic {
    pub name: String,
    pub tenant: String,
    pub properties: Vec<(String, String)>,
    pub partitions: Partitions,
}

/// The state of a topic's partitions: one load per partition, and the partitions that take no records now, in
/// ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    pub loads_bytes: Vec<u64>,
    pub unwritable: Vec<u32>,
}

impl Partitions {
    /// `count` idle partitions, all of them writable.
    pub fn idle(count: u32) -> Partitions {
        Partitions { loads_bytes: vec![0; count as usize], unwritable: Vec::new() }
    }

    pub fn count(&self) -> u32 {
        u32::try_from(self.loads_bytes.len()).unwrap_or(u32::MAX)
    }
}
