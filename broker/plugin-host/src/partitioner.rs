//! A plugin attached to a topic that places records: what the produce path calls. It tells each instance of changed
//! partitions, splits what is too large for one call, and checks each answer; `attached` has the instances.
//!
//! Invariant: a placement that leaves here has one valid partition per record, by the number of partitions that the
//! instance was last told.

use crate::attached::{Attached, Call};
use crate::calls;
use crate::columns::{CALL_BYTES_MAX, CALL_RECORDS_MAX, Columns, View};
use crate::contract_v0_1::PartitionExports;
use crate::error::CallError;
use crate::placement::Placement;
use crate::stats::StatsSnapshot;
use crate::topic::{Fields, Identity, Kind, Partitions};

/// An attached partitioner. Calls may come from any thread; dropping it ends its instances.
pub struct Partitioner {
    attached: Attached<PartitionExports>,
    kind: Kind,
}

impl Partitioner {
    pub(crate) fn new(attached: Attached<PartitionExports>, kind: Kind) -> Partitioner {
        Partitioner { attached, kind }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The parts of records that it reads; others need not be in the columns.
    pub fn fields(&self) -> Fields {
        self.attached.fields
    }

    pub fn identity(&self) -> &Identity {
        &self.attached.identity
    }

    /// Tells the plugin how the partitions are now; each instance hears it before its next call. Callers send
    /// changes of loads at most once a second.
    pub fn observe(&self, partitions: Partitions) {
        self.attached.observe(partitions);
    }

    /// True if recent calls all ended in microseconds, so that the next may run where others wait for it.
    pub fn is_quick(&self) -> bool {
        self.attached.pace.is_quick() && !self.attached.is_troubled()
    }

    /// True if calls took so long again and again that the next should take time from nobody else.
    pub fn is_slow(&self) -> bool {
        self.attached.pace.is_slow()
    }

    /// Asks where the records of a batch go. Blocks for up to twice `ottla.plugin.batch.time.ms` per 65,536 records
    /// or 16 MiB. `client` is the partition that the client named; columns in [`Self::fields`] must be filled.
    ///
    /// # Errors
    /// See [`CallError`]; [`Self::describe`] makes a sentence of one.
    #[inline]
    pub fn partition(&self, client: u32, columns: &Columns) -> Result<Placement, CallError> {
        if columns.count == 0 {
            return Ok(Placement::Stay);
        }
        self.attached.call(columns.count, |call| self.ask(call, client, columns))
    }

    /// An error of this partitioner as a sentence that names plugin, version, topic and reason.
    pub fn describe(&self, error: &CallError) -> String {
        self.attached.describe(error)
    }

    pub fn stats(&self) -> StatsSnapshot {
        self.attached.stats()
    }

    /// One batch on one instance.
    #[inline]
    fn ask(
        &self,
        call: Call<'_, PartitionExports>,
        client: u32,
        columns: &Columns,
    ) -> Result<Placement, CallError> {
        let Call { instance, observed, limits } = call;
        let fields = self.attached.fields;
        if !columns.is_sound(fields) {
            return Err(CallError::unsound_columns());
        }
        let time_ms = limits.batch_time_ms;
        if instance.observed != observed.version {
            let told = instance.call(time_ms, |exports, store| exports.observe(store, &observed.partitions));
            if let Err(error) = told {
                return Err(calls::fault(&error, instance.context(), limits));
            }
            instance.observed = observed.version;
        }
        let mut ask = |view: &View<'_>| match instance
            .call(time_ms, |exports, store| exports.partition(store, client, view))
        {
            Ok(answer) => calls::judge(answer, view.count, observed.partitions.count()),
            Err(error) => Err(calls::fault(&error, instance.context(), limits)),
        };
        let mut rest = columns.view(fields);
        if rest.fits(CALL_RECORDS_MAX, CALL_BYTES_MAX) {
            return ask(&rest);
        }
        let mut whole = Vec::with_capacity(columns.count as usize);
        while rest.count > 0 {
            let part = rest.split_call(CALL_RECORDS_MAX, CALL_BYTES_MAX);
            let before = whole.len() as u32;
            match ask(&part) {
                Ok(placement) => calls::join(&mut whole, placement, part.count, client),
                Err(CallError::Rejected(mut rejections)) => {
                    rejections.iter_mut().for_each(|rejection| rejection.record_index += before);
                    return Err(CallError::Rejected(rejections));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(calls::joined(whole, client))
    }
}
