//! `expiring-offers`: a retention policy that reads when a record ends from its value.

use ottla_plugin::{Fields, NoConfig, Record, RetainRecords, Retention, Topic, TopicLimits, Verdict};

/// Values are offers, such as `{"item": 7, "valid_until_ms": 1767225600000}`. An offer goes when it ends, and what is
/// no offer goes by the topic's retention.ms.
struct ExpiringOffers {
    topic_ms: Option<i64>,
}

#[derive(serde::Deserialize)]
struct Offer {
    valid_until_ms: i64,
}

impl Retention for ExpiringOffers {
    type Config = NoConfig;

    fn configure(_: NoConfig, topic: &Topic) -> Result<Self, String> {
        Ok(ExpiringOffers { topic_ms: TopicLimits::of(topic)?.retention_ms })
    }
}

impl RetainRecords for ExpiringOffers {
    fn fields(&self) -> Fields {
        Fields { values: true, timestamps: true, ..Fields::NONE }
    }

    fn judge_record(&mut self, record: Record<'_>, now_ms: i64) -> Result<Verdict, String> {
        let offer = record.value.and_then(|value| serde_json::from_slice::<Offer>(value).ok());
        Ok(match offer {
            Some(offer) if now_ms >= offer.valid_until_ms => Verdict::Erase,
            Some(offer) => Verdict::KeepUntil(offer.valid_until_ms),
            None => Verdict::by_age(record.timestamp_ms, self.topic_ms, now_ms),
        })
    }
}

ottla_plugin::export_record_retention!(ExpiringOffers);

#[cfg(test)]
mod tests {
    use ottla_plugin::testing::{Policy, TestRecord};

    use super::*;

    #[test]
    fn an_offer_goes_when_it_ends() {
        let mut plugin = Policy::<ExpiringOffers>::configure("{}", &[("retention.ms", "1000")]).unwrap();
        let offer = TestRecord { value: Some(br#"{"valid_until_ms": 5000}"#), ..TestRecord::default() };
        let other = TestRecord { value: Some(b"hello"), ..TestRecord::default() };
        let judged = plugin.judge_records(&[offer, other], 1001).unwrap();
        assert_eq!(judged.verdicts, [Verdict::Keep, Verdict::Erase]);
        assert_eq!(judged.again_ms, Some(5000));
        assert_eq!(plugin.judge_records(&[offer], 5000).unwrap().verdicts, [Verdict::Erase]);
    }
}
