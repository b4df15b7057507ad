//! What classic consumers write to each other through the group: the topics that a member subscribes to, and the
//! partitions that it was assigned. The group looks into them for what Kafka knows of them too, and for lag. They come
//! from clients: what cannot be read is no error here.

use crate::records::{Reader, ReplayError};

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

const SUBSCRIPTION: &str = "the subscription of a consumer";
const ASSIGNMENT: &str = "the assignment of a consumer";

/// Calls `each` with every topic of a `ConsumerProtocolSubscription`. Version 0 begins each later version.
pub(crate) fn each_subscribed(bytes: &[u8], each: &mut dyn FnMut(&str)) -> Result<(), ReplayError> {
    let mut reader = Reader::new(bytes, SUBSCRIPTION);
    let version = reader.i16()?;
    if version < 0 {
        return Err(ReplayError::Version { what: SUBSCRIPTION, version });
    }
    for _ in 0..reader.count(2)? {
        each(reader.string()?);
    }
    // The user data is not looked at, but it must be there.
    reader.nullable_bytes()?;
    Ok(())
}

/// Calls `each` with every partition of a `ConsumerProtocolAssignment`, as far as it can be read.
pub(crate) fn each_assigned(bytes: &[u8], each: &mut dyn FnMut(&str, i32)) -> Result<(), ReplayError> {
    let mut reader = Reader::new(bytes, ASSIGNMENT);
    let version = reader.i16()?;
    if version < 0 {
        return Err(ReplayError::Version { what: ASSIGNMENT, version });
    }
    for _ in 0..reader.count(6)? {
        let topic = reader.string()?;
        for _ in 0..reader.count(4)? {
            each(topic, reader.i32()?);
        }
    }
    Ok(())
}
