//! What the author of a plugin uses. A plugin is a type that implements a trait and one macro call; this crate turns
//! the broker's batches into calls of one function per record.
//!
//! | a plugin that says | implements | and calls |
//! |---|---|---|
//! | where records go, by key | [`KeyPartitioner`] | [`export_key_partitioner!`] |
//! | where records go, by anything | [`RecordPartitioner`] | [`export_record_partitioner!`] |
//! | which records stay | [`Retention`], [`RetainRecords`] | [`export_record_retention!`] |
//! | which segments stay | [`Retention`], [`RetainSegments`] | [`export_segment_retention!`] |
//! | both | [`Retention`], [`RetainSegments`], [`RetainRecords`] | [`export_retention!`] |
//!
//! ```
//! use ottla_plugin::{At, KeyPartitioner, NoConfig, Partitions, Refusal, Topic};
//!
//! /// Sends each key to the partition that its first byte names.
//! struct FirstByte;
//!
//! impl KeyPartitioner for FirstByte {
//!     type Config = NoConfig;
//!
//!     fn configure(_: NoConfig, _: &Topic, _: &Partitions) -> Result<Self, String> {
//!         Ok(FirstByte)
//!     }
//!
//!     fn partition(&mut self, key: Option<&[u8]>, at: At<'_>) -> Result<u32, Refusal> {
//!         match key.and_then(|key| key.first()) {
//!             Some(byte) => Ok(u32::from(*byte) % at.partitions.count()),
//!             None => Ok(at.client),
//!         }
//!     }
//! }
//!
//! ottla_plugin::export_key_partitioner!(FirstByte);
//! ```
//!
//! The same code runs on the author's machine: [`testing`] calls a plugin as a broker would. On WebAssembly the macro
//! adds the exports of the contract; elsewhere it adds nothing that runs.
//!
//! Invariant: a plugin's function sees borrowed slices of the batch, and no allocation is made per record.

#[allow(warnings, clippy::all, reason = "generated")]
#[doc(hidden)]
pub mod bindings {
    #[rustfmt::skip]
    pub mod keys;
    #[rustfmt::skip]
    pub mod record_retention;
    #[rustfmt::skip]
    pub mod records;
    #[rustfmt::skip]
    pub mod retention;
    #[rustfmt::skip]
    pub mod segment_retention;
}

mod answer;
mod config;
mod keys;
mod limits;
pub mod log;
mod macros;
pub mod murmur2;
mod records;
mod retention;
pub mod testing;
mod topic;

#[cfg(target_arch = "wasm32")]
mod export;

pub use answer::Refusal;
pub use config::NoConfig;
pub use keys::KeyPartitioner;
pub use limits::TopicLimits;
pub use records::{Fields, Header, Headers, Record, RecordPartitioner};
pub use retention::{
    Progress, RetainRecords, RetainSegments, Retention, Segment, SegmentAt, SegmentVerdict, Usage, Verdict,
};
pub use topic::{At, Partitions, Topic};

/// The plugin in the SDK's README must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// For the macros only.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod exported {
    pub use crate::export::{KeysSlot, RecordsSlot, RetentionSlot};
    pub use crate::records::{Column, Columns};
    pub use crate::retention::Codes;
    pub use crate::{Progress, Segment, SegmentVerdict, Topic, Usage};
}

/// Makes the component of this crate a key partitioner: `export_key_partitioner!(MyType);`, once, where `MyType`
/// implements [`KeyPartitioner`].
#[macro_export]
macro_rules! export_key_partitioner {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::keys as bindings;
            use $crate::bindings::keys::exports::ottla::plugin::partition_keys as contract;

            ::std::thread_local! {
                static SLOT: $crate::exported::KeysSlot<$plugin> =
                    const { $crate::exported::KeysSlot::new() };
            }

            struct Exported;

            impl contract::Guest for Exported {
                fn configure(
                    topic: contract::Topic,
                    partitions: contract::Partitions,
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    SLOT.with(|slot| slot.configure(topic, partitions, &config))
                }

                fn observe(partitions: contract::Partitions) {
                    SLOT.with(|slot| slot.observe(partitions))
                }

                fn partition(
                    client: u32,
                    keys: contract::Column,
                ) -> ::std::result::Result<contract::Placement, contract::Failure> {
                    SLOT.with(|slot| slot.partition(client, keys))
                }
            }

    bindings::__export_keys!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            // Elsewhere nothing calls it but tests, and it is meant to be there.
            let _ = <$plugin as $crate::KeyPartitioner>::configure;
            let _ = <$plugin as $crate::KeyPartitioner>::partition;
        };
    };
}

/// Makes the component of this crate a record partitioner: `export_record_partitioner!(MyType);`, once, where
/// `MyType` implements [`RecordPartitioner`].
#[macro_export]
macro_rules! export_record_partitioner {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::records as bindings;
            use $crate::bindings::records::exports::ottla::plugin::partition_records as contract;

            ::std::thread_local! {
                static SLOT: $crate::exported::RecordsSlot<$plugin> =
                    const { $crate::exported::RecordsSlot::new() };
            }

            struct Exported;

            impl contract::Guest for Exported {
                fn configure(
                    topic: contract::Topic,
                    partitions: contract::Partitions,
                    config: ::std::string::String,
                ) -> ::std::result::Result<contract::Fields, ::std::string::String> {
                    SLOT.with(|slot| slot.configure(topic, partitions, &config))
                }

                fn observe(partitions: contract::Partitions) {
                    SLOT.with(|slot| slot.observe(partitions))
                }

                fn partition(
                    client: u32,
                    records: contract::Records,
                ) -> ::std::result::Result<contract::Placement, contract::Failure> {
                    SLOT.with(|slot| slot.partition(client, records))
                }
            }

    bindings::__export_records!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            // Elsewhere nothing calls it but tests, and it is meant to be there.
            let _ = <$plugin as $crate::RecordPartitioner>::configure;
            let _ = <$plugin as $crate::RecordPartitioner>::partition;
        };
    };
}
