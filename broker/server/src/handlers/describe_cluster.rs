//! DescribeCluster: who the brokers are and which of them is the controller (KIP-700, KIP-919). Called by the router;
//! reads the metadata image.

use std::sync::Arc;

use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use ottla_model::error::ErrorCode;

use super::view::{self, CLUSTER_OPERATIONS, NOT_ASKED, text};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refuse = |code: ErrorCode, message: &str| {
        DescribeClusterResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(message)))
            .with_cluster_authorized_operations(NOT_ASKED)
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refuse(
                ErrorCode::MismatchedEndpointType,
                "this is a broker's listener, which tells of brokers; ask for endpoint type 1",
            );
        }
        _ => return refuse(ErrorCode::UnsupportedEndpointType, "the endpoint type is 1 for brokers"),
    }
    let image = broker.metadata.image();
    let brokers = view::brokers(&image, &context.listener).map(|(broker, endpoint)| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(broker.id))
            .with_host(text(&endpoint.host))
            .with_port(i32::from(endpoint.port))
            .with_rack(broker.rack.as_deref().map(text))
    });
    let operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { NOT_ASKED };
    DescribeClusterResponse::default()
        .with_error_message(None)
        .with_endpoint_type(BROKERS)
        .with_cluster_id(text(&broker.cluster_id))
        .with_controller_id(BrokerId(broker.config.node_id))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(operations)
}
