//! Fetch sessions (KIP-227): what a consumer reads is remembered between its requests, so that a request names
//! only what changed and an answer holds only what is new. The fetch handler stands before and after it: `begin`
//! turns a request into the list of partitions to read, `finish` drops from the answer what the client knows.
//! Invariant: a partition's cached state changes only by an answer that is sent.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::messages::fetch_response::PartitionData;
use ottla_model::error::ErrorCode;
use ottla_model::ids::TopicId;
use parking_lot::Mutex;

use crate::dispatch::FileRange;

/// A session used within this time is never evicted for another one (Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_MS: i64 = 120_000;

/// Ends a session and begins none.
const FINAL_EPOCH: i32 = -1;
/// Begins a session.
const INITIAL_EPOCH: i32 = 0;
/// No session.
pub const NO_SESSION: i32 = 0;

/// The partition that a client names: by topic id from version 13 on, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub topic: Topic,
    pub partition: i32,
}

/// A topic as the request names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    Id(TopicId),
    Name(Arc<str>),
}

/// One partition that a client wants to read.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub key: Key,
    /// The topic's name when the partition joined the session; tells a recreated topic from an unknown one.
    pub name: Option<Arc<str>>,
    pub fetch_offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// The answer for one wanted partition.
#[derive(Debug)]
pub struct Answer {
    pub key: Key,
    pub data: PartitionData,
    /// Where the records lie, if `data` does not hold them itself.
    pub range: Option<FileRange>,
}

impl Answer {
    /// Bytes of records.
    pub fn records_bytes(&self) -> usize {
        match &self.range {
            Some(range) => range.length,
            None => self.data.records.as_ref().map_or(0, |records| records.len()),
        }
    }

    fn has_records(&self) -> bool {
        self.records_bytes() > 0
    }
}

struct Cached {
    wanted: Wanted,
    /// -1 until an answer without error was sent.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(wanted: Wanted) -> Cached {
        Cached { wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// Takes note of an answer and says whether the client has to see it.
    fn take(&mut self, answer: &Answer) -> bool {
        let data = &answer.data;
        if data.error_code != 0 {
            // The next answer without an error must be seen, whatever it holds.
            self.high_watermark = -1;
            return true;
        }
        let changed =
            data.high_watermark != self.high_watermark || data.log_start_offset != self.log_start_offset;
        self.high_watermark = data.high_watermark;
        self.log_start_offset = data.log_start_offset;
        changed || answer.has_records() || data.diverging_epoch.epoch >= 0
    }
}

struct Session {
    id: i32,
    /// The epoch that the next request must bear.
    epoch: i32,
    uses_topic_ids: bool,
    partitions: Vec<Cached>,
    index: HashMap<Key, usize>,
    /// Where the next read begins, so that a partition with much data does not starve the others.
    cursor: usize,
    created_ms: i64,
    used_ms: i64,
}

impl Session {
    fn add(&mut self, wanted: Wanted) {
        match self.index.get(&wanted.key) {
            Some(&at) => self.partitions[at].wanted = wanted,
            None => {
                self.index.insert(wanted.key.clone(), self.partitions.len());
                self.partitions.push(Cached::new(wanted));
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(at) = self.index.remove(key) else { return };
        self.partitions.swap_remove(at);
        if let Some(moved) = self.partitions.get(at) {
            self.index.insert(moved.wanted.key.clone(), at);
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let start = if self.cursor < self.partitions.len() { self.cursor } else { 0 };
        let (head, tail) = self.partitions.split_at(start);
        tail.iter().chain(head).map(|cached| cached.wanted.clone()).collect()
    }

    fn take(&mut self, answer: &Answer) -> bool {
        let Some(&at) = self.index.get(&answer.key) else { return true };
        if answer.has_records() {
            self.cursor = at + 1;
        }
        self.partitions[at].take(answer)
    }
}

/// What one fetch request reads, and what becomes of its answers.
pub struct Context {
    pub wanted: Vec<Wanted>,
    kind: Kind,
}

enum Kind {
    Sessionless,
    Full { uses_topic_ids: bool },
    Incremental(Arc<Mutex<Session>>),
}

struct Cache {
    sessions: HashMap<i32, Arc<Mutex<Session>>>,
    last_id: i32,
}

/// All sessions of a broker, at most `slots` (`max.incremental.fetch.session.cache.slots`).
pub struct Sessions {
    slots: usize,
    cache: Mutex<Cache>,
}

impl Sessions {
    /// `seed` makes session ids of this start differ from those of the last one.
    pub fn new(slots: usize, seed: i32) -> Sessions {
        Sessions { slots, cache: Mutex::new(Cache { sessions: HashMap::new(), last_id: seed & i32::MAX }) }
    }

    /// How many sessions are held.
    pub fn len(&self) -> usize {
        self.cache.lock().sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partitions that this request reads. Errors: FETCH_SESSION_ID_NOT_FOUND for an evicted session,
    /// INVALID_FETCH_SESSION_EPOCH for a lost or repeated request, FETCH_SESSION_TOPIC_ID_ERROR when the request
    /// names topics in the other way than the session does.
    pub fn begin(
        &self,
        id: i32,
        epoch: i32,
        uses_topic_ids: bool,
        wanted: Vec<Wanted>,
        forgotten: &[Key],
        now_ms: i64,
    ) -> Result<Context, ErrorCode> {
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            if id != NO_SESSION {
                self.cache.lock().sessions.remove(&id);
            }
            let kind = if epoch == FINAL_EPOCH { Kind::Sessionless } else { Kind::Full { uses_topic_ids } };
            return Ok(Context { wanted, kind });
        }
        let session =
            self.cache.lock().sessions.get(&id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut held = session.lock();
        if held.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if held.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        held.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        held.used_ms = now_ms;
        wanted.into_iter().for_each(|one| held.add(one));
        forgotten.iter().for_each(|key| held.forget(key));
        let all = held.wanted();
        drop(held);
        if all.is_empty() {
            self.cache.lock().sessions.remove(&id);
            return Ok(Context { wanted: all, kind: Kind::Sessionless });
        }
        Ok(Context { wanted: all, kind: Kind::Incremental(session) })
    }

    /// The session id of the answer and what of the answers the client has to see.
    pub fn finish(&self, context: Context, mut answers: Vec<Answer>, now_ms: i64) -> (i32, Vec<Answer>) {
        match context.kind {
            Kind::Sessionless => (NO_SESSION, answers),
            Kind::Full { uses_topic_ids } => {
                (self.create(uses_topic_ids, context.wanted, &answers, now_ms), answers)
            }
            Kind::Incremental(session) => {
                let mut held = session.lock();
                answers.retain(|answer| held.take(answer));
                (held.id, answers)
            }
        }
    }

    fn create(&self, uses_topic_ids: bool, wanted: Vec<Wanted>, answers: &[Answer], now_ms: i64) -> i32 {
        let mut cache = self.cache.lock();
        if !cache.make_room(self.slots, wanted.len(), now_ms) {
            return NO_SESSION;
        }
        let id = cache.next_id();
        let mut session = Session {
            id,
            epoch: 1,
            uses_topic_ids,
            partitions: Vec::with_capacity(wanted.len()),
            index: HashMap::with_capacity(wanted.len()),
            cursor: 0,
            created_ms: now_ms,
            used_ms: now_ms,
        };
        wanted.into_iter().for_each(|one| session.add(one));
        for answer in answers {
            session.take(answer);
        }
        cache.sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }
}

impl Cache {
    fn next_id(&mut self) -> i32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1) & i32::MAX;
            if self.last_id != NO_SESSION && !self.sessions.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Evicts one session if all slots are taken: one that was not used for long, else a smaller one that is old.
    fn make_room(&mut self, slots: usize, partitions: usize, now_ms: i64) -> bool {
        if self.sessions.len() < slots {
            return true;
        }
        let mut stale: Option<(i64, i32)> = None;
        let mut smaller: Option<(usize, i32)> = None;
        for session in self.sessions.values() {
            let held = session.lock();
            if now_ms - held.used_ms > EVICTION_MS {
                stale = Some(stale.map_or((held.used_ms, held.id), |best| best.min((held.used_ms, held.id))));
            }
            let size = held.partitions.len();
            if size < partitions && now_ms - held.created_ms > EVICTION_MS {
                smaller = Some(smaller.map_or((size, held.id), |best| best.min((size, held.id))));
            }
        }
        let victim = stale.map(|(_, id)| id).or(smaller.map(|(_, id)| id));
        victim.is_some_and(|id| self.sessions.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, partition: i32) -> Key {
        Key { topic: Topic::Name(Arc::from(name)), partition }
    }

    fn want(name: &str, partition: i32) -> Wanted {
        Wanted {
            key: key(name, partition),
            name: None,
            fetch_offset: 0,
            max_bytes: 1024,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn answer(name: &str, partition: i32, watermark: i64, records: &'static [u8]) -> Answer {
        let data = PartitionData::default()
            .with_partition_index(partition)
            .with_high_watermark(watermark)
            .with_records(Some(bytes::Bytes::from_static(records)));
        Answer { key: key(name, partition), data, range: None }
    }

    fn names(answers: &[Answer]) -> Vec<i32> {
        answers.iter().map(|answer| answer.key.partition).collect()
    }

    #[test]
    fn an_incremental_answer_holds_only_what_changed() {
        let sessions = Sessions::new(10, 7);
        let full = sessions.begin(0, 0, false, vec![want("t", 0), want("t", 1)], &[], 0).unwrap();
        let (id, all) = sessions.finish(full, vec![answer("t", 0, 5, b""), answer("t", 1, 5, b"")], 0);
        assert_ne!(id, NO_SESSION);
        assert_eq!(names(&all), [0, 1]);

        let next = sessions.begin(id, 1, false, vec![], &[], 0).unwrap();
        assert_eq!(next.wanted.len(), 2);
        let (same, some) = sessions.finish(next, vec![answer("t", 0, 5, b""), answer("t", 1, 6, b"x")], 0);
        assert_eq!((same, names(&some)), (id, vec![1]));

        // Partition 1 had records, so that the next read begins behind it.
        let next = sessions.begin(id, 2, false, vec![], &[], 0).unwrap();
        assert_eq!(next.wanted[0].key.partition, 0);
        let mut failed = answer("t", 0, 5, b"");
        failed.data.error_code = 1;
        let (_, some) = sessions.finish(next, vec![failed, answer("t", 1, 6, b"")], 0);
        assert_eq!(names(&some), [0]);
        let next = sessions.begin(id, 3, false, vec![], &[], 0).unwrap();
        let (_, some) = sessions.finish(next, vec![answer("t", 0, 5, b""), answer("t", 1, 6, b"")], 0);
        assert_eq!(names(&some), [0], "what had an error is answered again once it has none");
    }

    #[test]
    fn epochs_ids_and_the_way_of_naming_topics_are_checked() {
        let sessions = Sessions::new(10, 0);
        let full = sessions.begin(0, 0, false, vec![want("t", 0)], &[], 0).unwrap();
        let (id, _) = sessions.finish(full, vec![answer("t", 0, 0, b"")], 0);
        let error = |id, epoch, ids| sessions.begin(id, epoch, ids, vec![], &[], 0).err();
        assert_eq!(error(id + 1, 1, false), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(error(id, 2, false), Some(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(error(id, 1, true), Some(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(error(id, 1, false), None);
        assert_eq!(error(id, 1, false), Some(ErrorCode::InvalidFetchSessionEpoch), "a repeated request");
    }

    #[test]
    fn a_session_ends_by_the_final_epoch_or_with_its_last_partition() {
        let sessions = Sessions::new(10, 0);
        for end_by_epoch in [true, false] {
            let full = sessions.begin(0, 0, false, vec![want("t", 0)], &[], 0).unwrap();
            let (id, _) = sessions.finish(full, vec![answer("t", 0, 0, b"")], 0);
            assert_eq!(sessions.len(), 1);
            if end_by_epoch {
                sessions.begin(id, FINAL_EPOCH, false, vec![], &[], 0).unwrap();
            } else {
                let context = sessions.begin(id, 1, false, vec![], &[key("t", 0)], 0).unwrap();
                assert_eq!(sessions.finish(context, vec![], 0).0, NO_SESSION);
            }
            assert!(sessions.is_empty());
        }
    }

    #[test]
    fn a_full_cache_evicts_only_what_is_stale_or_smaller_and_old() {
        let sessions = Sessions::new(1, 0);
        let open = |count: i32, now_ms| {
            let wanted: Vec<_> = (0..count).map(|partition| want("t", partition)).collect();
            let full = sessions.begin(0, 0, false, wanted, &[], now_ms).unwrap();
            sessions.finish(full, vec![], now_ms).0
        };
        let first = open(2, 0);
        assert_ne!(first, NO_SESSION);
        assert_eq!(open(2, 10), NO_SESSION, "the only slot is in use");
        sessions.begin(first, 1, false, vec![], &[], EVICTION_MS).unwrap();
        assert_eq!(open(2, EVICTION_MS + 1), NO_SESSION, "neither stale nor smaller");
        let larger = open(3, EVICTION_MS + 2);
        assert_ne!(larger, NO_SESSION, "a larger one replaces an old smaller one");
        assert_eq!(
            sessions.begin(first, 2, false, vec![], &[], 0).err(),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        assert_ne!(open(1, 3 * EVICTION_MS), NO_SESSION, "a stale one gives way to any");
    }
}
