//! What a group can be and how it can be, by Kafka's names. A name that a newer broker may use is `Unknown` here.

use std::fmt;

macro_rules! names {
    ($(#[$about:meta])* $kind:ident { $($variant:ident $name:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($variant,)*
            Unknown,
        }

        impl $kind {
            pub const ALL: &[$kind] = &[$($kind::$variant),*];

            /// Whoever writes it, capitals do not count.
            pub fn of(name: &str) -> $kind {
                $(if name.eq_ignore_ascii_case($name) {
                    return $kind::$variant;
                })*
                $kind::Unknown
            }

            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                    $kind::Unknown => "Unknown",
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names! {
    /// By which protocol its members speak. Source: KIP-848, `GroupType`.
    GroupKind { Classic "Classic", Consumer "Consumer", Share "Share", Streams "Streams" }
}

names! {
    /// Source: KIP-848 and the states of classic groups, `GroupState`.
    GroupState {
        Empty "Empty",
        PreparingRebalance "PreparingRebalance",
        CompletingRebalance "CompletingRebalance",
        Assigning "Assigning",
        Reconciling "Reconciling",
        Stable "Stable",
        NotReady "NotReady",
        Dead "Dead",
    }
}

impl GroupState {
    /// Whether offsets may be changed from outside: there is no member whose position they are.
    pub fn is_inactive(self) -> bool {
        matches!(self, GroupState::Empty | GroupState::Dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for state in GroupState::ALL {
            assert_eq!(GroupState::of(&state.to_string().to_uppercase()), *state);
        }
        assert_eq!(GroupKind::of("classic"), GroupKind::Classic);
        assert_eq!(GroupKind::of("something-new"), GroupKind::Unknown);
        assert!(GroupState::Empty.is_inactive() && !GroupState::Stable.is_inactive());
        assert!(!GroupState::Unknown.is_inactive());
    }
}
