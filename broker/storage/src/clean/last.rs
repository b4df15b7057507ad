//! The last batch of each producer and of each lane, which a pass keeps at least as an empty one: it bears the sequence
//! or the position that follows, also for a replica that has nothing but the batches.

use std::collections::HashMap;

use ottla_model::batch::Header;

use crate::producers::{ProducerEntry, ProducerStates, ingress_of, is_marked};

/// The last batches of producers and lanes, as they stood when the pass began.
#[derive(Default)]
pub(crate) struct LastBatches {
    producers: HashMap<i64, Last>,
    /// By ingress partition: the last offset.
    lanes: HashMap<i32, i64>,
}

enum Last {
    Data {
        last_offset: i64,
    },
    /// Only a marker is known, of this epoch.
    Marker {
        epoch: i16,
    },
}

impl LastBatches {
    pub fn of(states: &ProducerStates) -> LastBatches {
        let last = |entry: &ProducerEntry| match entry.last() {
            Some(batch) => Last::Data { last_offset: batch.last_offset },
            None => Last::Marker { epoch: entry.producer_epoch },
        };
        LastBatches {
            producers: states.iter().map(|entry| (entry.producer_id, last(entry))).collect(),
            lanes: states.lanes().map(|(ingress, mark)| (ingress, mark.last_offset)).collect(),
        }
    }

    /// Whether the batch says last what its producer or lane has written.
    pub fn holds(&self, header: &Header) -> bool {
        if is_marked(header.producer_id) {
            return self.lanes.get(&ingress_of(header.producer_id)) == Some(&header.last_offset());
        }
        match self.producers.get(&header.producer_id) {
            Some(Last::Data { last_offset }) => *last_offset == header.last_offset(),
            Some(Last::Marker { epoch }) => header.attributes.is_control() && *epoch == header.producer_epoch,
            None => false,
        }
    }
}
