//! What can be said of a request before any group is looked at: ids that may not be empty, timeouts within their
//! bounds, texts that a record can hold. The shard asks before it decides, so the code behind it need not.

use ottla_model::error::ErrorCode;

use crate::api::Request;
use crate::cluster::Settings;
use crate::records::TEXT_BYTES_MAX;

/// The error that Kafka answers, if the request cannot be taken at all.
pub(crate) fn check(request: &Request, settings: &Settings) -> Result<(), ErrorCode> {
    let group = request.group().unwrap_or_default();
    if group.len() > TEXT_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    // Offsets of the empty group are an old client's; they may be committed and fetched.
    let may_be_empty = matches!(
        request,
        Request::OffsetCommit(_)
            | Request::OffsetFetch(_)
            | Request::DescribeGroup(_)
            | Request::DeleteGroup(_)
            | Request::ListGroups(_)
            | Request::ForgetTopics(_)
    );
    if group.is_empty() && !may_be_empty {
        return Err(ErrorCode::InvalidGroupId);
    }
    if !texts_fit(request) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request {
        Request::JoinGroup(join) => {
            let bounds = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
            if bounds.contains(&join.session_timeout_ms) {
                Ok(())
            } else {
                Err(ErrorCode::InvalidSessionTimeout)
            }
        }
        _ => Ok(()),
    }
}

/// Whether every text that may come to stand in a record is short enough for its length field.
fn texts_fit(request: &Request) -> bool {
    let fits = |text: &str| text.len() <= TEXT_BYTES_MAX;
    let option_fits = |text: &Option<String>| text.as_deref().is_none_or(fits);
    match request {
        Request::JoinGroup(join) => {
            fits(&join.member)
                && option_fits(&join.instance)
                && fits(&join.protocol_type)
                && fits(&join.caller.client_id)
                && fits(&join.caller.client_host)
                && join.protocols.iter().all(|(name, _)| fits(name))
        }
        Request::ConsumerGroupHeartbeat(beat) => {
            fits(&beat.member)
                && option_fits(&beat.instance)
                && option_fits(&beat.rack)
                && option_fits(&beat.subscribed_regex)
                && option_fits(&beat.server_assignor)
                && fits(&beat.caller.client_id)
                && fits(&beat.caller.client_host)
                && beat.subscribed_topics.iter().flatten().all(|topic| fits(topic))
        }
        Request::OffsetCommit(commit) => commit.offsets.iter().all(|offset| fits(&offset.topic)),
        _ => true,
    }
}
