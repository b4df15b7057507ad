//! The destination's side of a lane: what is held of it, and the append of a forwarded batch, exactly once. Requests
//! come from forwarders of the same topic's partitions, in this process or over the wire. A batch's records are not
//! checked again: they were when their client sent them.

use std::io::IoSlice;

use ottla_model::batch::HEADER_BYTES;
use ottla_model::error::ErrorCode;
use ottla_storage::Assign;
use tokio::sync::oneshot;

use super::{Partition, State};
use crate::destinations::{ForwardAnswer, ForwardRequest, Held};
use crate::lane::destination::Verdict;
use crate::lane::position::{MarkedFields, decode};

impl Partition {
    /// What this partition holds of the lane beside partition `ingress`; `None` if this broker does not lead it.
    pub fn held(&self, ingress: i32) -> Option<Held> {
        let mut state = self.state.lock();
        (!state.closed && !self.is_offline()).then(|| state.held(ingress))
    }

    /// Appends a forwarded batch if it follows on what is held.
    pub fn forward(&self, request: &ForwardRequest, now_ms: i64) -> ForwardAnswer {
        if let Err(reason) = check(request) {
            return ForwardAnswer::Refused(reason.to_owned());
        }
        if let Err(error) = self.ensure_online() {
            return ForwardAnswer::Refused(error.to_string());
        }
        let mut state = self.state.lock();
        if state.closed {
            return ForwardAnswer::Refused("this broker no longer leads the partition".to_owned());
        }
        if state.leader_epoch != request.leader_epoch {
            return ForwardAnswer::Refused(format!(
                "the partition's leader epoch is {}, the request bears {}",
                state.leader_epoch, request.leader_epoch
            ));
        }
        match state.received.judge(request.ingress, request.previous, request.position) {
            Verdict::Duplicate | Verdict::Mismatch => {
                return ForwardAnswer::Holds(state.held(request.ingress));
            }
            Verdict::Accept => {}
        }
        let header = [0; HEADER_BYTES];
        let slices = [IoSlice::new(&header), IoSlice::new(&request.body)];
        let assign = Assign::next(state.leader_epoch);
        let info = match state.log.append(&request.header, &slices, assign, now_ms) {
            Ok(info) => info,
            Err(error) => {
                self.note_failure(&error);
                return ForwardAnswer::Refused(error.to_string());
            }
        };
        state.received.appended(request.ingress, request.position, info.last_offset + 1);
        let readable_bytes = state.appended(info.bytes, now_ms);
        let held = state.held(request.ingress);
        let flush = state.start_flush();
        drop(state);
        self.after_append(readable_bytes, info.rolled, flush, now_ms);
        ForwardAnswer::Appended { state: held.state, committed: held.committed }
    }
}

/// The header must say what the request says: it is what a restart will believe.
fn check(request: &ForwardRequest) -> Result<(), &'static str> {
    let fields = MarkedFields {
        producer_id: request.header.producer_id,
        producer_epoch: request.header.producer_epoch,
        base_sequence: request.header.base_sequence,
    };
    if decode(fields) != Some((request.ingress, request.position)) {
        return Err("the batch does not bear the position that the request names");
    }
    if request.header.size() != HEADER_BYTES + request.body.len() {
        return Err("the batch is not as long as its header says");
    }
    Ok(())
}

impl State {
    fn held(&mut self, ingress: i32) -> Held {
        let state = self.received.state(ingress);
        let is_committed = state.held == state.committed;
        Held {
            leader_epoch: self.leader_epoch,
            state,
            committed: (!is_committed).then(|| self.committed_later()),
        }
    }

    fn committed_later(&mut self) -> oneshot::Receiver<Result<(), ErrorCode>> {
        let end = self.log.end_offset();
        self.commits.push(end)
    }
}
