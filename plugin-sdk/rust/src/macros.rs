//! The export macros of retention policies. Each makes one static slot for the author's type and forwards the functions
//! of the contract's interfaces to it; what an interface needs is written once and used by two worlds.

/// Makes the component of this crate a policy of records: `export_record_retention!(MyType);`, once, where `MyType`
/// implements [`Retention`](crate::Retention) and [`RetainRecords`](crate::RetainRecords).
#[macro_export]
macro_rules! export_record_retention {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::record_retention as bindings;
            $crate::__retention_slot!($plugin);
            $crate::__retain_records!(bindings);
    bindings::__export_record_retention!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            // Elsewhere nothing calls it but tests, and it is meant to be there.
            let _ = <$plugin as $crate::Retention>::configure;
            let _ = <$plugin as $crate::RetainRecords>::judge_record;
        };
    };
}

/// Makes the component of this crate a policy of segments: `export_segment_retention!(MyType);`, once, where `MyType`
/// implements [`Retention`](crate::Retention) and [`RetainSegments`](crate::RetainSegments).
#[macro_export]
macro_rules! export_segment_retention {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::segment_retention as bindings;
            $crate::__retention_slot!($plugin);
            $crate::__retain_segments!(bindings);
    bindings::__export_segment_retention!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            // Elsewhere nothing calls it but tests, and it is meant to be there.
            let _ = <$plugin as $crate::Retention>::configure;
            let _ = <$plugin as $crate::RetainSegments>::judge_segment;
        };
    };
}

/// Makes the component of this crate a policy of segments that can ask about their records: `export_retention!(MyType);`,
/// once, where `MyType` implements [`Retention`](crate::Retention), [`RetainSegments`](crate::RetainSegments) and
/// [`RetainRecords`](crate::RetainRecords).
#[macro_export]
macro_rules! export_retention {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::retention as bindings;
            $crate::__retention_slot!($plugin);
            $crate::__retain_segments!(bindings);
            $crate::__retain_records!(bindings);
    bindings::__export_retention!(Exported with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            // Elsewhere nothing calls it but tests, and it is meant to be there.
            let _ = <$plugin as $crate::Retention>::configure;
            let _ = <$plugin as $crate::RetainSegments>::judge_segment;
            let _ = <$plugin as $crate::RetainRecords>::judge_record;
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __retention_slot {
    ($plugin:ty) => {
        ::std::thread_local! {
            static SLOT: $crate::exported::RetentionSlot<$plugin> =
                const { $crate::exported::RetentionSlot::new() };
        }

        struct Exported;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __retain_records {
    ($bindings:ident) => {
        const _: () = {
            use $bindings::exports::ottla::plugin::retain_records as contract;
            use $crate::exported::{Codes, Column, Columns, Topic};

            impl contract::Guest for Exported {
                fn configure(
                    topic: contract::Topic,
                    config: ::std::string::String,
                ) -> ::std::result::Result<contract::Fields, ::std::string::String> {
                    let topic =
                        Topic { name: topic.name, tenant: topic.tenant, properties: topic.properties };
                    let wanted = SLOT.with(|slot| slot.configure_records(topic, &config))?;
                    let mut fields = contract::Fields::empty();
                    fields.set(contract::Fields::KEYS, wanted.keys);
                    fields.set(contract::Fields::VALUES, wanted.values);
                    fields.set(contract::Fields::HEADERS, wanted.headers);
                    fields.set(contract::Fields::TIMESTAMPS, wanted.timestamps);
                    ::std::result::Result::Ok(fields)
                }

                fn judge(
                    batch: contract::Records,
                    now_ms: i64,
                ) -> ::std::result::Result<contract::Judgement, ::std::string::String> {
                    type Raw = $bindings::ottla::plugin::types::Column;
                    fn column(raw: ::std::option::Option<&Raw>) -> Column<'_> {
                        raw.map(|raw| Column { lengths: &raw.lengths, bytes: &raw.bytes }).unwrap_or_default()
                    }
                    let headers = batch.headers.as_ref();
                    let columns = Columns {
                        count: batch.count,
                        keys: column(batch.keys.as_ref()),
                        values: column(batch.values.as_ref()),
                        timestamps_ms: batch.timestamps_ms.as_deref().unwrap_or_default(),
                        header_counts: headers.map(|headers| headers.counts.as_slice()).unwrap_or_default(),
                        header_keys: column(headers.map(|headers| &headers.keys)),
                        header_values: column(headers.map(|headers| &headers.values)),
                    };
                    let judged = SLOT.with(|slot| slot.judge_records(columns, now_ms))?;
                    let verdicts = match judged.codes {
                        Codes::All(0) => contract::Verdicts::All(contract::Verdict::Keep),
                        Codes::All(1) => contract::Verdicts::All(contract::Verdict::Erase),
                        Codes::All(_) => contract::Verdicts::All(contract::Verdict::Tombstone),
                        Codes::Each(each) => contract::Verdicts::Each(each),
                    };
                    ::std::result::Result::Ok(contract::Judgement { verdicts, again_ms: judged.again_ms })
                }
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __retain_segments {
    ($bindings:ident) => {
        const _: () = {
            use $bindings::exports::ottla::plugin::retain_segments as contract;
            use $crate::exported::{Progress, Segment, SegmentVerdict, Topic, Usage};

            impl contract::Guest for Exported {
                fn configure(
                    topic: contract::Topic,
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    let topic =
                        Topic { name: topic.name, tenant: topic.tenant, properties: topic.properties };
                    SLOT.with(|slot| slot.configure(topic, &config))
                }

                fn judge(
                    usage: contract::Usage,
                    segments: ::std::vec::Vec<contract::Segment>,
                    groups: ::std::vec::Vec<contract::Progress>,
                    now_ms: i64,
                ) -> ::std::result::Result<::std::vec::Vec<contract::Verdict>, ::std::string::String>
                {
                    let usage = Usage {
                        partition: usage.partition,
                        partition_bytes: usage.partition_bytes,
                        topic_bytes: usage.topic_bytes,
                        tenant_bytes: usage.tenant_bytes,
                    };
                    let segment = |raw: contract::Segment| Segment {
                        base_offset: raw.base_offset,
                        next_offset: raw.next_offset,
                        records: raw.records,
                        bytes: raw.bytes,
                        first_timestamp_ms: raw.first_timestamp_ms,
                        max_timestamp_ms: raw.max_timestamp_ms,
                        active: raw.active,
                    };
                    let segments: ::std::vec::Vec<Segment> = segments.into_iter().map(segment).collect();
                    let group = |raw: contract::Progress| Progress {
                        group: raw.group,
                        committed_offset: raw.committed_offset,
                        committed_ms: raw.committed_ms,
                    };
                    let groups: ::std::vec::Vec<Progress> = groups.into_iter().map(group).collect();
                    let verdicts =
                        SLOT.with(|slot| slot.judge_segments(usage, &segments, &groups, now_ms))?;
                    let known = |verdict| match verdict {
                        SegmentVerdict::Keep => contract::Verdict::Keep,
                        SegmentVerdict::Delete => contract::Verdict::Delete,
                        SegmentVerdict::Ask => contract::Verdict::Ask,
                    };
                    ::std::result::Result::Ok(verdicts.into_iter().map(known).collect())
                }
            }
        };
    };
}
