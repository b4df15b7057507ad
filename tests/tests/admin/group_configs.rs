//! Configs of one group, set over the broker's before the group exists, and which resources have configs at all.

use anyhow::Result;
use kafka_protocol::messages::alter_configs_request as legacy;
use kafka_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use kafka_protocol::messages::{AlterConfigsRequest, ListConfigResourcesResponse};
use ottla_tests::broker::Process;
use ottla_tests::raw::Raw;

use crate::{
    BROKER, INVALID_CONFIG, INVALID_REQUEST, TOPIC, UNSUPPORTED_VERSION, alter, config, config_source,
    create, describe, text, topic, value,
};

const GROUP: i8 = 32;
const SESSION: &str = "consumer.session.timeout.ms";
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

async fn list(raw: &mut Raw, types: &[i8], version: i16) -> Result<ListConfigResourcesResponse> {
    raw.call(&ListConfigResourcesRequest::default().with_resource_types(types.to_vec()), version).await
}

fn listed(response: &ListConfigResourcesResponse) -> Vec<(i8, &str)> {
    let one = response.config_resources.iter();
    one.map(|resource| (resource.resource_type, resource.resource_name.as_str())).collect()
}

/// Key, operation and value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

#[tokio::test]
async fn a_group_has_timers_of_its_own_and_keeps_them_over_a_kill() -> Result<()> {
    let mut broker = Process::start(&["group.consumer.session.timeout.ms=46000"])?;
    let mut raw = broker.connect().await?;
    let before = describe(&mut raw, GROUP, "payments").await?;
    assert_eq!(
        (before.error_code, value(&before, SESSION)?, config_source(&before, SESSION)?),
        (0, "46000", 4)
    );
    assert_eq!((value(&before, HEARTBEAT)?, config_source(&before, HEARTBEAT)?), ("5000", 5));
    assert!(!config(&before, SESSION)?.read_only);

    let cases: &[(&[Change<'_>], i16, &str)] = &[
        (&[(SESSION, 0, Some("50000")), (HEARTBEAT, 0, Some("6000"))], 0, ""),
        (&[(SESSION, 0, Some("44999"))], INVALID_CONFIG, "group.consumer.min.session.timeout.ms"),
        (&[(SESSION, 0, Some("60001"))], INVALID_CONFIG, "group.consumer.max.session.timeout.ms"),
        (&[(HEARTBEAT, 0, Some("4999"))], INVALID_CONFIG, "group.consumer.min.heartbeat.interval.ms"),
        (&[(SESSION, 0, Some("soon"))], INVALID_CONFIG, "32 bits"),
        (&[(SESSION, 0, Some("0"))], INVALID_CONFIG, "at least 1"),
        (&[("consumer.session.timeout", 0, Some("50000"))], INVALID_CONFIG, SESSION),
        (&[("share.auto.offset.reset", 0, Some("earliest"))], INVALID_CONFIG, "not built"),
        (&[("streams.num.standby.replicas", 0, Some("1"))], INVALID_CONFIG, "not built"),
        (&[(SESSION, 2, Some("1"))], INVALID_CONFIG, "not a list"),
        (&[(SESSION, 0, None)], INVALID_REQUEST, SESSION),
    ];
    for (changes, expected, part) in cases {
        let (code, message) = alter(&mut raw, GROUP, "payments", changes, false).await?;
        assert!(code == *expected && message.contains(part), "{changes:?}: {code} {message}");
    }
    assert_eq!(alter(&mut raw, GROUP, "other", cases[0].0, true).await?.0, 0);
    assert_eq!(alter(&mut raw, GROUP, "", cases[0].0, false).await?.0, INVALID_REQUEST);
    assert_eq!(describe(&mut raw, GROUP, "").await?.error_code, INVALID_REQUEST);

    broker.kill()?;
    broker.restart()?;
    let mut raw = broker.connect().await?;
    let after = describe(&mut raw, GROUP, "payments").await?;
    assert_eq!((value(&after, SESSION)?, config_source(&after, SESSION)?), ("50000", 8));
    let places: Vec<_> =
        config(&after, SESSION)?.synonyms.iter().map(|one| (one.source, &*one.name)).collect();
    assert_eq!(
        places,
        [(8, SESSION), (4, "group.consumer.session.timeout.ms"), (5, "group.consumer.session.timeout.ms")]
    );
    assert_eq!(config_source(&describe(&mut raw, GROUP, "other").await?, SESSION)?, 4);

    for version in 0..=2 {
        let heartbeat = 7000 + i32::from(version);
        let config = legacy::AlterableConfig::default()
            .with_name(text(HEARTBEAT))
            .with_value(Some(text(&heartbeat.to_string())));
        let resource = legacy::AlterConfigsResource::default()
            .with_resource_type(GROUP)
            .with_resource_name(text("payments"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(raw.call(&request, version).await?.responses[0].error_code, 0);
        let described = describe(&mut raw, GROUP, "payments").await?;
        assert_eq!(value(&described, HEARTBEAT)?, heartbeat.to_string());
        assert_eq!(config_source(&described, SESSION)?, 4, "what is not named goes back");
    }
    Ok(())
}

#[tokio::test]
async fn resources_with_configs_are_listed() -> Result<()> {
    let broker = Process::start(&[])?;
    let mut raw = broker.connect().await?;
    create(&mut raw, vec![topic("orders", 1)], 7).await?;
    assert_eq!(listed(&list(&mut raw, &[GROUP], 1).await?), []);
    for group in ["payments", "audit"] {
        assert_eq!(alter(&mut raw, GROUP, group, &[(SESSION, 0, Some("50000"))], false).await?.0, 0);
    }
    assert_eq!(listed(&list(&mut raw, &[], 0).await?), [], "version 0 is of client metrics");
    assert_eq!(listed(&list(&mut raw, &[16], 1).await?), []);
    assert_eq!(listed(&list(&mut raw, &[GROUP], 1).await?), [(GROUP, "audit"), (GROUP, "payments")]);
    let both = list(&mut raw, &[GROUP, TOPIC], 1).await?;
    assert_eq!(listed(&both), [(TOPIC, "orders"), (GROUP, "audit"), (GROUP, "payments")]);
    let all = list(&mut raw, &[], 1).await?;
    assert_eq!(
        listed(&all),
        [(TOPIC, "orders"), (BROKER, "1"), (8, "1"), (GROUP, "audit"), (GROUP, "payments")]
    );
    assert_eq!(list(&mut raw, &[99], 1).await?.error_code, UNSUPPORTED_VERSION);
    assert_eq!(alter(&mut raw, GROUP, "audit", &[(SESSION, 1, None)], false).await?.0, 0);
    assert_eq!(listed(&list(&mut raw, &[GROUP], 1).await?), [(GROUP, "payments")]);
    Ok(())
}
