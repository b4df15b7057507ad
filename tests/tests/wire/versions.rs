//! ApiVersions over a socket, from the broker itself.

use crate::client::{Client, framed};
use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Decodable;
use ottla_server::Server;
use ottla_server::config::Config;
use ottla_server::dispatch::APIS;

async fn server() -> (Server, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let folder = data.path().to_str().expect("a folder named in UTF-8");
    let config = Config::with(&[
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("ottla.admin.listener", "127.0.0.1:0"),
        ("log.dirs", folder),
    ]);
    let server = Server::start(config.expect("the overrides are possible")).await.expect("the broker starts");
    (server, data)
}

fn request(version: i16) -> Vec<u8> {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = "test".into();
        request.client_software_version = "1.0".into();
    }
    framed(version, 1, &request)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_tells_what_is_served() {
    let (server, _data) = server().await;
    let mut client = Client::connect(server.kafka_addresses()[0]).await;
    for version in 0..=4 {
        client.send(&request(version)).await;
        let (_, body) = client.answer().await;
        let response = ApiVersionsResponse::decode(&mut Bytes::from(body), version).expect("a whole answer");
        assert_eq!(response.error_code, 0);
        let told: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        let served: Vec<_> = APIS.iter().map(|api| (api.key as i16, api.advertised_min, api.max)).collect();
        assert_eq!(told, served);
    }
    server.shutdown().await;
}

/// KIP-511: a version from the future is answered in version 0, and the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_from_the_future_is_answered_in_version_0() {
    let (server, _data) = server().await;
    let mut client = Client::connect(server.kafka_addresses()[0]).await;
    for version in [5i16, 99, i16::MAX, -1] {
        let mut frame = request(4);
        frame[6..8].copy_from_slice(&version.to_be_bytes());
        client.send(&frame).await;
        let (id, body) = client.answer().await;
        let mut body = Bytes::from(body);
        let response = ApiVersionsResponse::decode(&mut body, 0).expect("a whole answer");
        assert_eq!((id, response.error_code, body.len()), (1, 35, 0), "{version}");
        let told: Vec<_> =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect();
        assert_eq!(told, [(18, 0, 4)]);
    }
    client.send(&request(3)).await;
    assert_eq!(client.ids(1).await, [1]);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_proper_name_is_told_so() {
    let (server, _data) = server().await;
    let mut client = Client::connect(server.kafka_addresses()[0]).await;
    client.send(&framed(3, 1, &ApiVersionsRequest::default().with_client_software_name("a b".into()))).await;
    let (_, body) = client.answer().await;
    let response = ApiVersionsResponse::decode(&mut Bytes::from(body), 3).expect("a whole answer");
    assert_eq!(response.error_code, 42);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_api_closes_the_connection() {
    let (server, _data) = server().await;
    let mut client = Client::connect(server.kafka_addresses()[0]).await;
    let mut frame = request(0);
    frame[4..6].copy_from_slice(&999i16.to_be_bytes());
    client.send(&frame).await;
    assert!(client.closed().await.is_empty());
    server.shutdown().await;
}
