//! Bytes to requests and responses to bytes. The connection stands before and after it. Invariant: nothing reaches
//! kafka-protocol's decoder that the guard has not passed.

use crate::dispatch::{Api, find_api};
use crate::guard::{self, Refused};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;

/// The length prefix of a frame.
pub const LENGTH_BYTES: usize = 4;

/// API key, version, correlation id, and the length of the client id.
const HEADER_BYTES_MIN: usize = 10;

/// The version in which ApiVersions answers what it does not know (KIP-511).
const API_VERSIONS_FALLBACK: i16 = 0;

/// Why a frame ends its connection.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("the frame of {0} bytes is too short for a request header")]
    HeaderTooShort(usize),
    #[error("the client id is longer than the frame, or not UTF-8")]
    ClientId,
    #[error("API key {0} is not served by this broker")]
    UnknownApi(i16),
    #[error("version {version} of {key:?} is not served; versions {min} to {max} are")]
    UnsupportedVersion { key: ApiKey, version: i16, min: i16, max: i16 },
    #[error("{key:?} request, version {version}: {refused}")]
    Refused { key: ApiKey, version: i16, refused: Refused },
    #[error("{key:?} request, version {version}: {reason}")]
    Decode { key: ApiKey, version: i16, reason: String },
    #[error("{key:?} response, version {version}: {reason}")]
    Encode { key: ApiKey, version: i16, reason: String },
}

/// What every request begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
}

/// What a frame asks for.
#[derive(Debug)]
pub enum Asked {
    Request(RequestKind),
    /// ApiVersions in a version from the future, to be answered in version 0.
    ApiVersionsFallback,
}

/// Decodes one frame, without its length prefix. The strings and records of the result share the frame's memory.
pub fn decode(apis: &[Api], mut frame: Bytes) -> Result<(RequestHeader, Asked), CodecError> {
    let (header, api) = decode_header(apis, &mut frame)?;
    let (key, version) = (header.key, header.version);
    if version < api.decoded_min || version > api.max {
        if key == ApiKey::ApiVersions {
            return Ok((header, Asked::ApiVersionsFallback));
        }
        return Err(CodecError::UnsupportedVersion { key, version, min: api.decoded_min, max: api.max });
    }
    let refused = |refused| CodecError::Refused { key, version, refused };
    if key.request_header_version(version) >= 2 {
        let tags_bytes = guard::check_header_tags(&frame).map_err(refused)?;
        let _ = frame.split_to(tags_bytes);
    }
    let schema = guard::schema_of(key).ok_or(CodecError::UnknownApi(key as i16))?;
    guard::check_body(schema, version, &frame).map_err(refused)?;
    let request = RequestKind::decode(key, &mut frame, version).map_err(|error| CodecError::Decode {
        key,
        version,
        reason: format!("{error:#}"),
    })?;
    Ok((header, Asked::Request(request)))
}

/// Takes the header off the frame, all but the tagged fields: in which versions those exist depends on the API.
fn decode_header<'a>(apis: &'a [Api], frame: &mut Bytes) -> Result<(RequestHeader, &'a Api), CodecError> {
    let Some(fixed) = frame.first_chunk::<HEADER_BYTES_MIN>() else {
        return Err(CodecError::HeaderTooShort(frame.len()));
    };
    let [k0, k1, v0, v1, c0, c1, c2, c3, l0, l1] = *fixed;
    let _ = frame.split_to(HEADER_BYTES_MIN);
    let key = i16::from_be_bytes([k0, k1]);
    let api = find_api(apis, key).ok_or(CodecError::UnknownApi(key))?;
    let client_id = match i16::from_be_bytes([l0, l1]) {
        -1 => None,
        length => {
            let length = usize::try_from(length).map_err(|_| CodecError::ClientId)?;
            if length > frame.len() {
                return Err(CodecError::ClientId);
            }
            Some(StrBytes::from_utf8(frame.split_to(length)).map_err(|_| CodecError::ClientId)?)
        }
    };
    let version = i16::from_be_bytes([v0, v1]);
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    Ok((RequestHeader { key: api.key, version, correlation_id, client_id }, api))
}

/// Appends a whole response frame to `out`; leaves `out` as it was when the response cannot be encoded. Returns the
/// frame's size.
pub fn encode(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &ResponseKind,
    out: &mut BytesMut,
) -> Result<usize, CodecError> {
    let start = out.len();
    encode_header(key, version, correlation_id, 0, out);
    if let Err(error) = response.encode(out, version) {
        out.truncate(start);
        return Err(CodecError::Encode { key, version, reason: format!("{error:#}") });
    }
    let size = out.len() - start;
    match i32::try_from(size - LENGTH_BYTES) {
        Ok(length) => out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes()),
        Err(_) => {
            out.truncate(start);
            return Err(CodecError::Encode { key, version, reason: format!("{size} bytes are too many") });
        }
    }
    Ok(size)
}

/// Appends the length prefix and the header of a response whose body has `body_bytes`.
pub fn encode_header(key: ApiKey, version: i16, correlation_id: i32, body_bytes: usize, out: &mut BytesMut) {
    let has_tags = key.response_header_version(version) >= 1;
    let length = LENGTH_BYTES + usize::from(has_tags) + body_bytes;
    out.put_i32(i32::try_from(length).unwrap_or(i32::MAX));
    out.put_i32(correlation_id);
    if has_tags {
        out.put_u8(0);
    }
}

/// Appends the answer to a version of ApiVersions that is not served.
pub fn encode_fallback(
    correlation_id: i32,
    response: &ResponseKind,
    out: &mut BytesMut,
) -> Result<usize, CodecError> {
    encode(ApiKey::ApiVersions, API_VERSIONS_FALLBACK, correlation_id, response, out)
}
