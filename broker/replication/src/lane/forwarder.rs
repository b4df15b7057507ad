//! The forwarder of one lane as a state machine: events go in, effects come out, and it neither reads a clock nor
//! waits. The driver reads entries, builds batches and talks to destinations on its behalf; the ledger beside it
//! turns what destinations hold into answers. Each destination advances on its own, and what is believed of one
//! comes only from its own words: a forward bears as `previous` what the destination said it holds, or the group
//! sent just before.

use std::collections::{BTreeMap, VecDeque};

use super::destination::LaneState;
use super::history::EpochHistory;
use super::ledger::{AnswerWhen, Ledger, LedgerEntry};
use super::position::Position;

/// How much a forwarder may have under way to one destination.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline {
    pub groups_max: usize,
    pub bytes_max: u64,
}

/// Ties an answer to the request that it belongs to. Whatever was sent before the last change of mind about a
/// destination bears an older ticket, and its answer is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);

#[cfg(test)]
impl Ticket {
    pub(crate) fn of(number: u32) -> Ticket {
        Ticket(number)
    }
}

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a destination what it holds of this lane, and report it by [`Forwarder::on_state`].
    Ask { destination: i32, ticket: Ticket },
    /// Read entries in `from..to`, as many as the bounds allow and at least one, build one batch for each of
    /// `parts`, and report by [`Forwarder::on_built`]. There is one pass at a time.
    Pass { from: i64, to: i64, parts: Vec<PassPart> },
    /// Leave a destination alone for a while that grows with `attempt`, then call [`Forwarder::on_retry`].
    Pause { destination: i32, ticket: Ticket, attempt: u32 },
}

/// A destination's share in a pass: its records from entries at or after `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassPart {
    pub destination: i32,
    pub ticket: Ticket,
    pub from: i64,
}

/// What a pass made for one destination.
#[derive(Clone, Copy, Debug)]
pub struct BuiltPart {
    pub destination: i32,
    pub ticket: Ticket,
    /// End of the last entry in it and the batch's size; none if the entries held no record for the destination.
    pub group: Option<(Position, u64)>,
    /// Every entry that ends at or before this offset was looked at for this destination.
    pub upto: i64,
}

/// A destination's answer to one forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Appended; `committed` is the last position under the destination's watermark.
    Appended { committed: Option<Position> },
    /// Not appended, because it is held already or `previous` is not what is held. This is the state.
    Holds(LaneState),
    /// No answer, or a refusal that says nothing about the state: wrong leader epoch, wrong topic, a full disk.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unknown,
    Asking,
    Ready,
    Paused,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    from: i64,
    position: Position,
    bytes: u64,
    /// What was confirmed when it was sent: its answer cannot know less, unless the destination lost something.
    confirmed: Option<Position>,
}

#[derive(Debug)]
struct Track {
    phase: Phase,
    ticket: Ticket,
    /// What the next group bears as `previous`.
    known: Option<Position>,
    /// Entries that end at or before it need not be looked at for this destination.
    cursor: i64,
    /// Below it, parts are sent again that were resolved before: the destination lost them.
    repair_until: i64,
    in_flight: VecDeque<InFlight>,
    attempt: u32,
    /// The last position known to be under the destination's watermark.
    confirmed: Option<Position>,
    /// What was confirmed when the destination was last asked.
    confirmed_when_asked: Option<Position>,
}

/// Counters of what a forwarder went through, since the lane was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwarderStats {
    pub groups: u64,
    pub bytes: u64,
    /// Forwards that a destination held already.
    pub suppressed: u64,
    /// Refusals and missing answers.
    pub refused: u64,
    /// Destinations that reported a position before the lane's start, so that records are missing there.
    pub losses: u64,
}

/// The forwarder of one lane. `W` is whoever waits for an answer.
pub struct Forwarder<W> {
    pipeline: Pipeline,
    pub(crate) ledger: Ledger<W>,
    history: EpochHistory,
    start: i64,
    end: i64,
    committed: i64,
    tracks: BTreeMap<i32, Track>,
    passing: bool,
    pauses: VecDeque<(i32, Ticket, u32)>,
    stats: ForwarderStats,
}

impl<W> Forwarder<W> {
    /// A forwarder that knows nothing of its destinations yet. `start..end` are the lane's offsets; what the lane
    /// holds follows by [`Forwarder::on_recovered`].
    pub fn new(pipeline: Pipeline, history: EpochHistory, start: i64, end: i64) -> Forwarder<W> {
        Forwarder {
            pipeline,
            ledger: Ledger::default(),
            history,
            start,
            end,
            committed: start,
            tracks: BTreeMap::new(),
            passing: false,
            pauses: VecDeque::new(),
            stats: ForwarderStats::default(),
        }
    }

    /// A leader epoch begins at the lane's end.
    pub fn on_epoch(&mut self, epoch: i32) {
        self.history.began(epoch, self.end);
    }

    /// A checkpoint was found in the lane when it was opened: these positions were under their destinations'
    /// watermarks once.
    pub fn on_recovered_checkpoint(&mut self, confirmed: impl IntoIterator<Item = (i32, Position)>) {
        for (destination, position) in confirmed {
            self.track(destination).confirmed = Some(position);
        }
    }

    /// An entry was found in the lane when it was opened.
    pub fn on_recovered(&mut self, entry: LedgerEntry, destinations: &[i32]) {
        self.enqueue(entry, destinations, None);
    }

    /// An entry was appended to the lane, in leader epoch `epoch`.
    pub fn on_append(
        &mut self,
        epoch: i32,
        entry: LedgerEntry,
        destinations: &[i32],
        waiter: Option<(AnswerWhen, W)>,
    ) {
        self.history.began(epoch, entry.base);
        self.end = entry.end;
        self.enqueue(entry, destinations, waiter);
    }

    /// Something that is no entry, a checkpoint, was appended: `end` is the lane's end now.
    pub fn on_checkpoint(&mut self, epoch: i32, base: i64, end: i64) {
        self.history.began(epoch, base);
        self.end = end;
    }

    fn enqueue(&mut self, entry: LedgerEntry, destinations: &[i32], waiter: Option<(AnswerWhen, W)>) {
        for destination in destinations {
            self.track(*destination);
        }
        self.ledger.append(entry, destinations, waiter);
    }

    /// The high watermarks of lane and log, which decide what is committed and so may be forwarded.
    pub fn on_watermarks(&mut self, lane: i64, log: i64) {
        self.committed = self.ledger.committed_upto(self.committed, lane, log);
    }

    /// A destination said what it holds, when asked.
    pub fn on_state(&mut self, destination: i32, ticket: Ticket, state: Option<LaneState>) {
        if !self
            .tracks
            .get(&destination)
            .is_some_and(|track| track.ticket == ticket && track.phase == Phase::Asking)
        {
            return;
        }
        match state {
            Some(state) => {
                let confirmed = self.tracks.get(&destination).and_then(|track| track.confirmed_when_asked);
                self.adopt(destination, state, confirmed);
            }
            None => self.pause(destination),
        }
    }

    /// A pass was built. Says of each part whether its group is to be forwarded, and with which `previous`.
    pub fn on_built(&mut self, parts: &[BuiltPart]) -> Vec<Option<Option<Position>>> {
        self.passing = false;
        parts.iter().map(|part| self.built(part)).collect()
    }

    fn built(&mut self, part: &BuiltPart) -> Option<Option<Position>> {
        let track = self.tracks.get_mut(&part.destination)?;
        if track.ticket != part.ticket || track.phase != Phase::Ready {
            return None;
        }
        let from = track.cursor;
        track.cursor = track.cursor.max(part.upto);
        let (position, bytes) = part.group?;
        let previous = track.known.replace(position);
        track.in_flight.push_back(InFlight { from, position, bytes, confirmed: track.confirmed });
        self.stats.groups += 1;
        self.stats.bytes += bytes;
        Some(previous)
    }

    /// A destination answered the forward of the group that ends at `position`.
    pub fn on_forwarded(&mut self, destination: i32, ticket: Ticket, position: Position, answer: Forwarded) {
        let Some(track) = self.tracks.get_mut(&destination) else { return };
        if track.ticket != ticket {
            return;
        }
        match answer {
            Forwarded::Appended { committed } => {
                track.attempt = 0;
                track.in_flight.retain(|group| group.position != position);
                self.ledger.appended(destination, position.offset);
                if let Some(committed) = committed {
                    self.on_confirmed(destination, committed);
                }
            }
            Forwarded::Holds(state) => {
                self.stats.suppressed += u64::from(state.held.is_some_and(|held| held >= position));
                let sent = track.in_flight.iter().find(|group| group.position == position);
                let confirmed = sent.and_then(|group| group.confirmed);
                self.adopt(destination, state, confirmed);
            }
            Forwarded::Refused => self.pause(destination),
        }
    }

    /// A destination's high watermark passed the batch that ends at `committed`.
    pub fn on_confirmed(&mut self, destination: i32, committed: Position) {
        let upto = self.history.resume_at(committed, self.end);
        if let Some(track) = self.tracks.get_mut(&destination) {
            let newest = |before: &Position| self.history.resume_at(*before, self.end) > upto;
            track.confirmed = Some(track.confirmed.filter(newest).unwrap_or(committed));
        }
        self.ledger.committed(destination, upto);
    }

    /// A commit that was waited for will not come, because the destination's leader is gone. It is asked again.
    pub fn on_commit_lost(&mut self, destination: i32) {
        let phase = self.tracks.get(&destination).map(|track| track.phase);
        // An answer on its way may be older than the news.
        if matches!(phase, Some(Phase::Ready | Phase::Asking)) {
            self.pause(destination);
        }
    }

    /// The pause after a refusal is over.
    pub fn on_retry(&mut self, destination: i32, ticket: Ticket) {
        if let Some(track) = self.tracks.get_mut(&destination)
            && track.ticket == ticket
            && track.phase == Phase::Paused
        {
            track.phase = Phase::Unknown;
        }
    }

    /// Everything before `start` was deleted from the lane.
    pub fn on_trimmed(&mut self, start: i64) {
        self.start = start;
        self.history.trimmed(start);
        for track in self.tracks.values_mut() {
            track.cursor = track.cursor.max(start);
        }
    }

    /// What to do next; none until another event.
    pub fn next_effect(&mut self) -> Option<Effect> {
        if let Some((destination, ticket, attempt)) = self.pauses.pop_front() {
            return Some(Effect::Pause { destination, ticket, attempt });
        }
        let ledger = &self.ledger;
        let unknown = self.tracks.iter_mut().find(|(destination, track)| {
            track.phase == Phase::Unknown && ledger.next_part(**destination, i64::MIN).is_some()
        });
        if let Some((destination, track)) = unknown {
            track.phase = Phase::Asking;
            track.confirmed_when_asked = track.confirmed;
            return Some(Effect::Ask { destination: *destination, ticket: track.ticket });
        }
        if self.passing { None } else { self.next_pass() }
    }

    fn next_pass(&mut self) -> Option<Effect> {
        let mut parts = Vec::new();
        for (destination, track) in &mut self.tracks {
            let under_way: u64 = track.in_flight.iter().map(|group| group.bytes).sum();
            let has_room =
                track.in_flight.len() < self.pipeline.groups_max && under_way < self.pipeline.bytes_max;
            if track.phase != Phase::Ready || !has_room {
                continue;
            }
            let next = if track.cursor < track.repair_until {
                Some(track.cursor)
            } else {
                self.ledger.next_part(*destination, track.cursor)
            };
            if let Some(from) = next.filter(|from| *from < self.committed) {
                parts.push(PassPart { destination: *destination, ticket: track.ticket, from });
            }
        }
        let from = parts.iter().map(|part| part.from).min()?;
        self.passing = true;
        Some(Effect::Pass { from, to: self.committed, parts })
    }

    /// Takes over what a destination says it holds, and goes on from there. `confirmed` is what was known to be
    /// committed there when it was asked.
    fn adopt(&mut self, destination: i32, state: LaneState, confirmed: Option<Position>) {
        let resume = state.held.map_or(self.start, |held| self.history.resume_at(held, self.end));
        let (start, end) = (self.start, self.end);
        let history = &self.history;
        let Some(track) = self.tracks.get_mut(&destination) else { return };
        let reported = state.held.map_or(i64::MIN, |held| history.resume_at(held, end));
        let confirmed = confirmed.map_or(i64::MIN, |confirmed| history.resume_at(confirmed, end));
        if reported < confirmed {
            // The destination went back behind what it once had under its watermark: what the lane still has of
            // it is sent again, what it has not is lost there.
            track.repair_until = confirmed;
            track.confirmed = state.committed;
            self.stats.losses += u64::from(reported < start);
        }
        track.ticket = Ticket(track.ticket.0.wrapping_add(1));
        track.phase = Phase::Ready;
        track.attempt = 0;
        track.known = state.held;
        track.cursor = resume.max(start);
        track.in_flight.clear();
        if state.held.is_some() {
            self.ledger.appended(destination, resume);
        }
        if let Some(committed) = state.committed {
            self.on_confirmed(destination, committed);
        }
    }

    fn pause(&mut self, destination: i32) {
        let Some(track) = self.tracks.get_mut(&destination) else { return };
        self.stats.refused += 1;
        track.ticket = Ticket(track.ticket.0.wrapping_add(1));
        track.phase = Phase::Paused;
        track.in_flight.clear();
        track.attempt = track.attempt.saturating_add(1);
        self.pauses.push_back((destination, track.ticket, track.attempt));
    }

    fn track(&mut self, destination: i32) -> &mut Track {
        let start = self.start;
        self.tracks.entry(destination).or_insert_with(|| Track {
            phase: Phase::Unknown,
            ticket: Ticket(0),
            known: None,
            cursor: start,
            repair_until: start,
            in_flight: VecDeque::new(),
            attempt: 0,
            confirmed: None,
            confirmed_when_asked: None,
        })
    }

    /// The lane offset before which nothing is needed any more: resolved, and not being sent again.
    pub fn trim_point(&self) -> i64 {
        let unresolved = self.ledger.oldest_unresolved().unwrap_or(self.committed).min(self.committed);
        self.tracks.values().fold(unresolved, |point, track| {
            let repairing = (track.cursor < track.repair_until).then_some(track.cursor);
            let under_way =
                track.in_flight.front().map(|group| group.from).filter(|from| *from < track.repair_until);
            point.min(repairing.unwrap_or(point)).min(under_way.unwrap_or(point))
        })
    }

    /// Positions known to be under their destinations' watermarks, for a checkpoint.
    pub fn confirmed(&self) -> impl Iterator<Item = (i32, Position)> + '_ {
        self.tracks.iter().filter_map(|(destination, track)| Some((*destination, track.confirmed?)))
    }

    /// The lane offset up to which entries may be forwarded.
    pub fn committed(&self) -> i64 {
        self.committed
    }

    /// What is believed of each destination, for a test that went wrong.
    #[cfg(test)]
    pub(crate) fn describe(&self) -> String {
        format!(
            "committed {} of {}..{}, passing {}, {:?}",
            self.committed, self.start, self.end, self.passing, self.tracks
        )
    }

    /// What happened so far.
    pub fn stats(&self) -> ForwarderStats {
        self.stats
    }
}

#[cfg(test)]
#[path = "forwarder_tests.rs"]
mod tests;
