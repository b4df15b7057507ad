//! What a plugin is told about its topic. Filled from the contract's records by `export`, or by a test.

/// The topic that the plugin is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// Empty where the cluster has no tenants.
    pub tenant: String,
    /// More about the topic, by name. Ignore what you do not know.
    pub properties: Vec<(String, String)>,
}

impl Topic {
    /// A property by its name.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The state of the topic's partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partitions {
    /// What each partition took of late, in bytes, as an average that decays. Its length is the number of partitions.
    pub loads_bytes: Vec<u64>,
    /// The partitions that take no records now, in ascending order; mostly none.
    pub unwritable: Vec<u32>,
}

impl Partitions {
    /// `count` idle partitions, all of them writable.
    pub fn idle(count: u32) -> Partitions {
        Partitions { loads_bytes: vec![0; count as usize], unwritable: Vec::new() }
    }

    /// The number of partitions, at least 1.
    #[inline]
    pub fn count(&self) -> u32 {
        self.loads_bytes.len() as u32
    }

    #[inline]
    pub fn is_writable(&self, partition: u32) -> bool {
        self.unwritable.is_empty() || self.unwritable.binary_search(&partition).is_err()
    }
}

/// Where a record stands when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The partition that the client named. To answer it is to leave the record where it is.
    pub client: u32,
    /// The partitions as the broker reported them last.
    pub partitions: &'a Partitions,
}
