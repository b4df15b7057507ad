//! Calls a retention policy as a broker would: its segments first, and its records where it asks for them.

use super::{Lists, TestRecord};
use crate::config;
use crate::records::Fields;
use crate::retention::{
    self, Codes, ERASE, Progress, RetainRecords, RetainSegments, Retention, Segment, SegmentVerdict,
    TOMBSTONE, Usage, Verdict,
};
use crate::topic::Topic;

/// What a broker is told about records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// One per record: [`Verdict::Keep`], [`Verdict::Erase`] or [`Verdict::Tombstone`].
    pub verdicts: Vec<Verdict>,
    /// No verdict changes before then.
    pub again_ms: Option<i64>,
}

/// A configured retention policy.
pub struct Policy<P> {
    plugin: P,
}

impl<P: Retention> Policy<P> {
    /// Configures an instance for a topic named `test` with these properties, such as `retention.ms`.
    ///
    /// # Errors
    /// What the broker would show to whoever attaches the plugin.
    pub fn configure(config_json: &str, properties: &[(&str, &str)]) -> Result<Self, String> {
        let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self::configure_for(config_json, &Topic { name: "test".into(), tenant: "acme".into(), properties })
    }

    /// Configures an instance for a topic.
    ///
    /// # Errors
    /// What the broker would show to whoever attaches the plugin.
    pub fn configure_for(config_json: &str, topic: &Topic) -> Result<Self, String> {
        Ok(Policy { plugin: P::configure(config::parse(config_json)?, topic)? })
    }
}

impl<P: RetainRecords> Policy<P> {
    pub fn fields(&self) -> Fields {
        self.plugin.fields()
    }

    /// Passes only what [`Self::fields`] asks for, as the broker does.
    ///
    /// # Errors
    /// What the plugin says where it has no verdict.
    pub fn judge_records(&mut self, batch: &[TestRecord<'_>], now_ms: i64) -> Result<Outcomes, String> {
        let lists = Lists::of(self.plugin.fields(), batch);
        let judged = retention::judge_records(&mut self.plugin, lists.columns(), now_ms)?;
        let codes = match judged.codes {
            Codes::All(code) => vec![code; batch.len()],
            Codes::Each(codes) => codes,
        };
        let verdict = |code| match code {
            ERASE => Verdict::Erase,
            TOMBSTONE => Verdict::Tombstone,
            _ => Verdict::Keep,
        };
        Ok(Outcomes { verdicts: codes.into_iter().map(verdict).collect(), again_ms: judged.again_ms })
    }
}

impl<P: RetainSegments> Policy<P> {
    /// # Errors
    /// What the plugin says where it has no verdict.
    pub fn judge_segments(
        &mut self,
        usage: Usage,
        segments: &[Segment],
        groups: &[Progress],
        now_ms: i64,
    ) -> Result<Vec<SegmentVerdict>, String> {
        retention::judge_segments(&mut self.plugin, usage, segments, groups, now_ms)
    }
}
