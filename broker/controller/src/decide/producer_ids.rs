//! Producer ids are handed to brokers in blocks, so that a client's InitProducerId costs no write. A block is
//! recorded before its first id is used and never given again: a broker that dies takes the rest of its block
//! with it, which is why no id is ever handed out twice.

use std::ops::Range;

use ottla_model::error::ErrorCode;
use ottla_model::ids::BrokerId;

use super::{Decision, refuse};
use crate::bounds::{PRODUCER_ID_BLOCK, PRODUCER_ID_END};
use crate::image::Image;
use crate::record::{ProducerIdsRecord, Record};

/// Ids that one broker may hand out.
pub type ProducerIdBlock = Range<i64>;

/// The next [`PRODUCER_ID_BLOCK`] ids. They stay below the range that marks positions of lanes. Errors:
/// UNKNOWN_SERVER_ERROR once every id is spent, as in Kafka.
pub fn allocate_producer_ids(image: &Image, broker: BrokerId) -> Decision<ProducerIdBlock> {
    let first = image.next_producer_id();
    if first > PRODUCER_ID_END - PRODUCER_ID_BLOCK {
        return refuse(ErrorCode::UnknownServerError, "every producer id of this cluster is spent");
    }
    let next = first + PRODUCER_ID_BLOCK;
    Ok((vec![Record::ProducerIds(ProducerIdsRecord { broker, next })], first..next))
}
