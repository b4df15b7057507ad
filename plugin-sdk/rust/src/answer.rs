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

/// Asks `place` for each of `count` records.
#[inline]
pub(crate) fn collect(
    count: usize,
    client: u32,
    mut place: impl FnMut(usize) -> Result<u32, Refusal>,
) -> Answer {
    let mut each = Vec::with_capacity(count);
    let mut rejected = Vec::new();
    // Bits in which any place differs from the first: one cheap operation a record instead of a branch.
    let mut differ = 0;
    let mut first = None;
    for index in 0..count {
        match place(index) {
            Ok(partition) => {
                differ |= partition ^ *first.get_or_insert(partition);
                each.push(partition);
            }
            Err(Refusal::Batch(reason)) => return Answer::Failed(reason),
            Err(Refusal::Record(reason)) => {
                rejected.push((index as u32, reason));
                if rejected.len() == REJECTIONS_MAX {
                    break;
                }
            }
        }
    }
    match first {
        _ if !rejected.is_empty() => Answer::Rejected(rejected),
        Some(first) if differ == 0 && first == client => Answer::Stay,
        Some(first) if differ == 0 => Answer::All(first),
        Some(_) => Answer::Each(each),
        None => Answer::Stay,
    }
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
        assert_eq!(of(&[]), Answer::Stay);
    }

    #[test]
    fn rejections_carry_their_index_and_a_failure_ends_the_batch() {
        let bad = || Err(Refusal::Record("bad".into()));
        assert_eq!(
            of(&[Ok(1), bad(), Ok(2), bad()]),
            Answer::Rejected(vec![(1, "bad".into()), (3, "bad".into())])
        );
        assert_eq!(of(&[bad(), Err(Refusal::Batch("no".into()))]), Answer::Failed("no".into()));
        let many = vec![bad(); 1000];
        assert!(matches!(of(&many), Answer::Rejected(list) if list.len() == REJECTIONS_MAX));
    }
}
