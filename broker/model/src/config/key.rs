//! What a configuration key is: its type, its default, the values that it takes, whether it can change while the broker
//! runs, and whether it has an effect. The list of keys is written in these words.

/// The type of a key's value, as DescribeConfigs tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Type {
    /// The number by which Kafka's protocol knows the type (KIP-569).
    pub fn code(self) -> i8 {
        match self {
            Type::Boolean => 1,
            Type::String => 2,
            Type::Int => 3,
            Type::Short => 4,
            Type::Long => 5,
            Type::Double => 6,
            Type::List => 7,
            Type::Class => 8,
            Type::Password => 9,
        }
    }

    /// The word that stands in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Type::Boolean => "boolean",
            Type::String => "string",
            Type::Int => "int",
            Type::Short => "short",
            Type::Long => "long",
            Type::Double => "double",
            Type::List => "list",
            Type::Class => "class",
            Type::Password => "password",
        }
    }
}

/// When a broker's key may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// At a restart only.
    ReadOnly,
    /// While running, for one broker.
    PerBroker,
    /// While running, for one broker or for all.
    ClusterWide,
}

/// What becomes of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what it says.
    Honoured,
    /// It is kept and reported, and has no effect yet.
    Stored,
    /// Any value but the default is refused.
    Refused,
}

/// Which values a key takes, beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// From 0 to 1.
    Share,
    NonEmpty,
    OneOf(&'static [&'static str]),
    /// A list of these.
    ManyOf(&'static [&'static str]),
    /// A judge that answers what would be right.
    Custom(fn(&str) -> Result<(), String>),
}

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Type,
    /// None is Kafka's null.
    pub default: Option<&'static str>,
    pub check: Check,
    pub update: Update,
    pub status: Status,
    /// Of a topic's or a group's key: the broker's key that holds its default.
    pub broker_default: Option<&'static str>,
    pub doc: &'static str,
}

impl Key {
    /// Its value is never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Type::Password
    }

    /// The sentence for DescribeConfigs, which also says when a value has no effect.
    pub fn documentation(&self) -> String {
        match self.status {
            Status::Honoured => self.doc.to_owned(),
            Status::Stored => format!("{} Stored and reported, without effect yet.", self.doc),
            Status::Refused => format!("{} Not built: only the default is accepted.", self.doc),
        }
    }

    /// What a value must be, as the end of a sentence.
    pub fn expected(&self) -> String {
        let kind = match self.kind {
            Type::Boolean => "true or false",
            Type::Int => "a number of 32 bits",
            Type::Short => "a number of 16 bits",
            Type::Long => "a number of 64 bits",
            Type::Double => "a decimal number",
            Type::List => "a list, separated by commas",
            Type::String | Type::Class | Type::Password => "text",
        };
        match self.check {
            Check::Any | Check::Custom(_) => kind.to_owned(),
            Check::AtLeast(least) => format!("{kind}, at least {least}"),
            Check::Between(least, most) => format!("{kind}, from {least} to {most}"),
            Check::Share => format!("{kind}, from 0 to 1"),
            Check::NonEmpty => format!("{kind}, not empty"),
            Check::OneOf(values) => format!("one of {}", values.join(", ")),
            Check::ManyOf(values) => format!("a list of {}", values.join(", ")),
        }
    }
}
