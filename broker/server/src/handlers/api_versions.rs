//! ApiVersions: which APIs and versions this broker serves (KIP-35, KIP-511). Called by the router; reads nothing but the
//! table of APIs. A version that the broker does not know is answered by the connection, in version 0, before decoding.

use crate::broker::Broker;
use crate::dispatch::{APIS, Api, RequestContext};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use std::sync::Arc;

/// From this version on the client says which software it is.
const CLIENT_SOFTWARE_VERSION_MIN: i16 = 3;

pub async fn handle(
    _broker: &Arc<Broker>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.api_version >= CLIENT_SOFTWARE_VERSION_MIN
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    ApiVersionsResponse::default().with_api_keys(APIS.iter().map(advertised).collect())
}

/// The answer to a version of ApiVersions that is not served: encoded as version 0, with the range that is (KIP-511).
pub fn unsupported_version(apis: &[Api]) -> ApiVersionsResponse {
    let own = apis.iter().filter(|api| api.key == ApiKey::ApiVersions).map(advertised).collect();
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own)
}

fn advertised(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.advertised_min)
        .with_max_version(api.max)
}

/// Letters, digits, `-` and `.`, with a letter or digit at either end (KIP-511).
fn is_software_name(name: &str) -> bool {
    let name = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_end(name.first()) && is_end(name.last()) && name.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for good in ["librdkafka", "apache-kafka-java", "4.1.0", "a", "0-a.b"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "a b", "a/b", "ä", "a\0"] {
            assert!(!is_software_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_unsupported_version_names_the_supported_ones() {
        let response = unsupported_version(APIS);
        assert_eq!(response.error_code, 35);
        assert_eq!(response.api_keys.len(), 1);
        assert_eq!((response.api_keys[0].api_key, response.api_keys[0].max_version), (18, 4));
    }
}
