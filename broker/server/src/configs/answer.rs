//! The half that both requests which change configs share: each resource is changed on its own, once, and answered with
//! what became of it. The handlers of AlterConfigs and IncrementalAlterConfigs stand before it, `change` behind it.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_model::error::{ErrorCode, KafkaError};

use super::{Resource, Wish, change, check_distinct};
use crate::broker::Broker;
use crate::dispatch::RequestContext;

/// A resource as a request names it, and what shall become of its configs, or why that cannot be.
pub struct Wanted<'a> {
    pub resource_type: i8,
    pub resource_name: &'a str,
    pub wish: Result<Wish<'a>, KafkaError>,
}

/// Changes each resource on its own, or with `validate_only` finds out whether it could be. The answers are in the
/// order of the request; a resource that it names twice is not changed.
pub async fn change_all(
    broker: &Arc<Broker>,
    context: &RequestContext,
    wanted: Vec<Wanted<'_>>,
    validate_only: bool,
) -> Vec<Result<(), KafkaError>> {
    let twice: HashSet<(i8, &str)> =
        check_distinct(wanted.iter().map(|one| (one.resource_type, one.resource_name)));
    let by = context.peer.to_string();
    let mut answers = Vec::with_capacity(wanted.len());
    for one in wanted {
        answers.push(if twice.contains(&(one.resource_type, one.resource_name)) {
            Err(KafkaError::new(ErrorCode::InvalidRequest, "the request names this resource twice"))
        } else {
            change_one(broker, one, validate_only, &by).await
        });
    }
    answers
}

async fn change_one(
    broker: &Arc<Broker>,
    wanted: Wanted<'_>,
    validate_only: bool,
    by: &str,
) -> Result<(), KafkaError> {
    let Wanted { resource_type, resource_name, wish } = wanted;
    let resource = Resource::parse_changed(resource_type, resource_name, broker.config.node_id)?;
    change(broker, resource.target(), &wish?, validate_only, by).await
}
