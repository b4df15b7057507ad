//! Collects the places of a batch's records into the smallest answer that the contract has.

/// Why a record has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The record is bad. The client gets the reason, and nothing of the batch is stored.
    Record(String),
    /// The plugin cannot decide. The topic's setting for errors says what happens to the batch.
    Batch(String),
}

/// An answer to one batch, as the contract has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Stay,
    All(u32),
    Each(Vec<u32>),
    Rejected(Vec<(u32, String)>),
    Failed(String),
}

/// Rejections that one answer lists; a client can do nothing with more.
const REJECTIONS_MAX: usize = 100;

/// Asks `place` for each of `count` records. As long as all go to one place, no list is made.
#[inline]
pub(crate) fn collect(
    count: usize,
    client: u32,
    mut place: impl FnMut(usize) -> Result<u32, Refusal>,
) -> Answer {
    let mut first = client;
    let mut each = Vec::new();
    for index in 0..count {
        let partition = match place(index) {
            Ok(partition) => partition,
            Err(refusal) => return refuse(refusal, index, count, place),
        };
        if index == 0 {
            first = partition;
        } else if partition != first {
            each.reserve_exact(count);
            each.resize(index, first);
            each.push(partition);
            break;
        }
    }
    if each.is_empty() {
        return if first == client { Answer::Stay } else { Answer::All(first) };
    }
    for index in each.len()..count {
        match place(index) {
            Ok(partition) => each.push(partition),
            Err(refusal) => return refuse(refusal, index, count, place),
        }
    }
    Answer::Each(each)
}

/// Collects the refusals from the record at `index` on, the first to be refused.
#[cold]
fn refuse(
    refusal: Refusal,
    index: usize,
    count: usize,
    mut place: impl FnMut(usize) -> Result<u32, Refusal>,
) -> Answer {
    let mut rejected = Vec::new();
    let mut outcome = Err(refusal);
    for index in index..count {
        match outcome {
            Ok(_) => {}
            Err(Refusal::Batch(reason)) => return Answer::Failed(reason),
            Err(Refusal::Record(reason)) => rejected.push((index as u32, reason)),
        }
        if rejected.len() == REJECTIONS_MAX || index + 1 == count {
            break;
        }
        outcome = place(index + 1);
    }
    Answer::Rejected(rejected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(places: &[Result<u32, Refusal>]) -> Answer {
        collect(places.len(), 7, |i| places[i].clone())
    }

    #[test]
    fn the_smallest_answer_is_given() {
        assert_eq!(of(&[Ok(7), Ok(7)]), Answer::Stay);
        assert_eq!(of(&[Ok(3), Ok(3)]), Answer::All(3));
        assert_eq!(of(&[Ok(3), Ok(7), Ok(3)]), Answer::Each(vec![3, 7, 3]));
        assert_eq!(of(&[Ok(7), Ok(7), Ok(3)]), Answer::Each(vec![7, 7, 3]));
        assert_eq!(of(&[]), Answer::Stay);
    }

    #[test]
    fn rejections_carry_their_index_and_a_failure_ends_the_batch() {
        let bad = || Err(Refusal::Record("bad".into()));
        assert_eq!(
            of(&[Ok(1), bad(), Ok(2), bad()]),
            Answer::Rejected(vec![(1, "bad".into()), (3, "bad".into())])
        );
        assert_eq!(of(&[bad()]), Answer::Rejected(vec![(0, "bad".into())]));
        assert_eq!(of(&[Ok(1), Ok(1), bad()]), Answer::Rejected(vec![(2, "bad".into())]));
        assert_eq!(of(&[bad(), Ok(1), Err(Refusal::Batch("no".into()))]), Answer::Failed("no".into()));
        let many = vec![bad(); 1000];
        assert!(matches!(of(&many), Answer::Rejected(list) if list.len() == REJECTIONS_MAX));
    }
}
