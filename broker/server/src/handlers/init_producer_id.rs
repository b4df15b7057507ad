//! InitProducerId: an id by which the broker recognises what a producer repeats (KIP-98, KIP-360). Called by the
//! router; takes the id from this broker's block, without a write. Transactions do not exist here.

use std::sync::Arc;

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use ottla_model::error::ErrorCode;
use ottla_model::ids::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};

use crate::broker::Broker;
use crate::dispatch::RequestContext;

pub async fn handle(
    broker: &Arc<Broker>,
    _context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Err(code) = check(&request) {
        return refuse(code);
    }
    match broker.metadata.next_producer_id().await {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Err(error) => {
            tracing::warn!(code = %error.code, error.message, "no producer id could be handed out");
            refuse(error.code)
        }
    }
}

/// A producer that names an id and epoch, because it lost track of its sequences, gets a fresh id like any other:
/// Kafka raises an epoch for transactional producers only.
fn check(request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    if let Some(id) = &request.transactional_id {
        return Err(if id.is_empty() { ErrorCode::InvalidRequest } else { ErrorCode::UnsupportedVersion });
    }
    let has_id = request.producer_id.0 != NO_PRODUCER_ID;
    let has_epoch = request.producer_epoch != NO_PRODUCER_EPOCH;
    if has_id == has_epoch { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

fn refuse(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(code.code())
        .with_producer_id(ProducerId(NO_PRODUCER_ID))
        .with_producer_epoch(NO_PRODUCER_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::TransactionalId;
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn what_is_no_idempotent_producer_is_refused() {
        let request = |transactional: Option<&'static str>, id: i64, epoch: i16| {
            InitProducerIdRequest::default()
                .with_transactional_id(transactional.map(|id| TransactionalId(StrBytes::from_static_str(id))))
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(epoch)
        };
        assert_eq!(check(&request(None, -1, -1)), Ok(()));
        assert_eq!(check(&request(None, 5, 0)), Ok(()));
        assert_eq!(check(&request(None, 5, -1)), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(&request(None, -1, 3)), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(&request(Some(""), -1, -1)), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(&request(Some("pay"), -1, -1)), Err(ErrorCode::UnsupportedVersion));
    }
}
