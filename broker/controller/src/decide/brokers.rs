//! A broker starts. Each start is recorded, and raises the leader epoch of every partition that the broker leads:
//! what a dead process had under way can then be told from what the new one does.

use ottla_model::error::ErrorCode;
use ottla_model::ids::BrokerId;
use uuid::Uuid;

use super::{Decision, refuse};
use crate::bounds::{BROKERS_MAX, LABEL_BYTES_MAX};
use crate::image::Image;
use crate::record::{BrokerRecord, Endpoint, Record};

#[derive(Clone, Debug)]
pub struct NewBroker {
    pub id: BrokerId,
    /// A fresh one at each start of the process.
    pub incarnation: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
}

/// Records a start. Errors: INVALID_REGISTRATION.
pub fn register_broker(image: &Image, broker: NewBroker, now_ms: i64) -> Decision<()> {
    if broker.id < 0 {
        return refuse(ErrorCode::InvalidRegistration, format!("node.id {} is negative", broker.id));
    }
    if image.broker(broker.id).is_none() && image.broker_count() >= BROKERS_MAX {
        return refuse(
            ErrorCode::InvalidRegistration,
            format!("this cluster has {BROKERS_MAX} brokers already, which is its bound"),
        );
    }
    if broker.rack.as_ref().is_some_and(|rack| rack.len() > LABEL_BYTES_MAX) {
        return refuse(
            ErrorCode::InvalidRegistration,
            format!("broker.rack is longer than {LABEL_BYTES_MAX} bytes"),
        );
    }
    let NewBroker { id, incarnation, endpoints, rack } = broker;
    let record = BrokerRecord { id, incarnation, endpoints, rack, started_ms: now_ms };
    Ok((vec![Record::Broker(record)], ()))
}
