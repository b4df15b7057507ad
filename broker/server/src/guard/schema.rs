//! The vocabulary in which the guard's table is written: what a request of one API is made of, field by field and
//! version by version. The table stands before this file, the walk behind it; nothing here touches bytes. A schema is a
//! constant tree, so the depth of a walk is fixed by the table and never by what a client sends.

use kafka_protocol::messages::ApiKey;

/// What one field looks like on the wire.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A value of so many bytes: integers, booleans, UUIDs.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// Bytes that the guard does not look into, nullable or not. Record batches are these.
    Blob,
    /// An array, nullable or not.
    List(&'static Kind),
    /// A structure; in flexible versions tagged fields follow its own.
    Group(&'static [Field]),
    /// A structure behind a presence byte.
    Optional(&'static [Field]),
}

/// A field and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub since: i16,
    pub until: i16,
    pub tag: Option<u32>,
    pub kind: Kind,
}

/// The body of one API's request.
#[derive(Debug)]
pub struct Schema {
    pub key: ApiKey,
    /// The first version with compact lengths and tagged fields.
    pub flexible: i16,
    pub fields: &'static [Field],
}

pub const BOOL: Kind = Kind::Fixed(1);
pub const I8: Kind = Kind::Fixed(1);
pub const I16: Kind = Kind::Fixed(2);
pub const I32: Kind = Kind::Fixed(4);
pub const I64: Kind = Kind::Fixed(8);
pub const UUID: Kind = Kind::Fixed(16);
pub const TEXT: Kind = Kind::Text;
pub const BLOB: Kind = Kind::Blob;

/// The first flexible version of an API that has none.
pub const NEVER: i16 = i16::MAX;

/// A field that every version has.
pub const fn all(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

/// A field of this version and all later ones.
pub const fn from(since: i16, kind: Kind) -> Field {
    between(since, i16::MAX, kind)
}

/// A field of these versions, both included.
pub const fn between(since: i16, until: i16, kind: Kind) -> Field {
    Field { since, until, tag: None, kind }
}

/// A tagged field of this version and all later ones.
pub const fn tagged(tag: u32, since: i16, kind: Kind) -> Field {
    Field { since, until: i16::MAX, tag: Some(tag), kind }
}

impl Field {
    pub const fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

impl Kind {
    /// The fewest bytes that a value of this kind takes in `version`.
    pub fn size_bytes_min(self, version: i16, flexible: bool) -> usize {
        match self {
            Kind::Fixed(size) => size,
            Kind::Text if !flexible => 2,
            Kind::Blob | Kind::List(_) if !flexible => 4,
            Kind::Text | Kind::Blob | Kind::List(_) | Kind::Optional(_) => 1,
            Kind::Group(fields) => {
                let untagged = fields.iter().filter(|field| field.tag.is_none() && field.is_in(version));
                let own: usize = untagged.map(|field| field.kind.size_bytes_min(version, flexible)).sum();
                own + usize::from(flexible)
            }
        }
    }
}
