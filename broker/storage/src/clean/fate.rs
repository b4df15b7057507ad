//! What becomes of a batch before its records are looked at: kept, judged, emptied. The pass asks for each batch in the
//! log's order. What a round knows of transactions tells which of them nobody
//! needs any more.

use ottla_model::batch::Header;

use super::plan::Compacting;
use super::rebuild::{horizon_passed, is_empty};
use super::transactions::marker_of;

/// A batch's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// The judge decides record by record.
    Judge,
    /// All its records go.
    Clear,
    /// A marker that nothing needs any more: it goes at this time, and its header is to say so.
    SetHorizon(i64),
}

/// The fate of a whole batch in a pass that compacts or does not.
pub(super) fn of(header: &Header, batch: &[u8], compacting: Option<&Compacting>) -> Fate {
    let Some(compacting) = compacting else {
        let is_judged = !header.attributes.is_control() && !is_empty(header);
        return if is_judged { Fate::Judge } else { Fate::Keep };
    };
    let mut transactions = compacting.transactions.lock();
    if !header.attributes.is_control() {
        let is_aborted = transactions.on_batch(header);
        return if is_aborted || is_empty(header) { Fate::Clear } else { Fate::Judge };
    }
    if !transactions.on_control(header, marker_of(header, batch)) {
        return Fate::Keep;
    }
    match horizon_passed(header, compacting.now_ms) {
        _ if is_empty(header) => Fate::Clear,
        Some(true) => Fate::Clear,
        Some(false) => Fate::Keep,
        None => Fate::SetHorizon(compacting.horizon_ms()),
    }
}
