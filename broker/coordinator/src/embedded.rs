//! The protocol that consumers speak inside of JoinGroup and SyncGroup: subscriptions and assignments as bytes that the
//! classic coordinator does not look into. Groups that change their protocol, and classic members of consumer groups,
//! need them read and written. Bytes come from clients: every length is checked against what is there.

use bytes::{BufMut, Bytes, BytesMut};

/// `protocol_type` of groups whose members speak it.
pub const CONSUMER_PROTOCOL: &str = "consumer";
/// The newest version of subscriptions and assignments; later ones begin in the same way.
const VERSION_MAX: i16 = 3;

/// The bytes are not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the embedded consumer protocol is malformed")]
pub struct Malformed;

/// `ConsumerProtocolSubscription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    pub version: i16,
    pub topics: Vec<&'a str>,
    pub owned: Vec<(&'a str, Vec<i32>)>,
    pub rack: Option<&'a str>,
}

/// `ConsumerProtocolAssignment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    pub partitions: Vec<(&'a str, Vec<i32>)>,
    /// Of assignors that need more than partitions.
    pub has_user_data: bool,
}

impl<'a> Subscription<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Subscription<'a>, Malformed> {
        let mut cursor = Cursor(bytes);
        let version = cursor.version()?;
        let topics = cursor.list(2, |cursor| cursor.text()?.ok_or(Malformed))?;
        cursor.user_data()?;
        let mut subscription = Subscription { version, topics, owned: Vec::new(), rack: None };
        if version >= 1 {
            subscription.owned = cursor.partitions()?;
        }
        if version >= 2 {
            cursor.i32()?;
        }
        if version >= 3 {
            subscription.rack = cursor.text()?.filter(|rack| !rack.is_empty());
        }
        Ok(subscription)
    }
}

impl<'a> Assignment<'a> {
    /// No bytes at all are no partitions: a member that was not assigned any.
    pub fn read(bytes: &'a [u8]) -> Result<Assignment<'a>, Malformed> {
        if bytes.is_empty() {
            return Ok(Assignment { partitions: Vec::new(), has_user_data: false });
        }
        let mut cursor = Cursor(bytes);
        cursor.version()?;
        let partitions = cursor.partitions()?;
        let has_user_data = cursor.user_data()?;
        Ok(Assignment { partitions, has_user_data })
    }
}

/// An assignment in the version that the member's subscription has.
pub fn write_assignment(partitions: &[(&str, &[i32])], version: i16) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_i16(version.clamp(0, VERSION_MAX));
    out.put_i32(partitions.len() as i32);
    for (topic, indexes) in partitions {
        // Names of topics have 249 bytes at most.
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
        out.put_i32(indexes.len() as i32);
        indexes.iter().for_each(|index| out.put_i32(*index));
    }
    out.put_i32(-1);
    out.freeze()
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.take(2)?.try_into().map(i16::from_be_bytes).map_err(|_| Malformed)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.take(4)?.try_into().map(i32::from_be_bytes).map_err(|_| Malformed)
    }

    fn version(&mut self) -> Result<i16, Malformed> {
        let version = self.i16()?;
        if version < 0 { Err(Malformed) } else { Ok(version.min(VERSION_MAX)) }
    }

    fn text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.i16()? {
            -1 => Ok(None),
            length => {
                let bytes = self.take(usize::try_from(length).map_err(|_| Malformed)?)?;
                std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed)
            }
        }
    }

    /// Whether there is any.
    fn user_data(&mut self) -> Result<bool, Malformed> {
        match self.i32()? {
            -1 => Ok(false),
            length => Ok(!self.take(usize::try_from(length).map_err(|_| Malformed)?)?.is_empty()),
        }
    }

    /// A list of entries of `least` bytes and more, so that its length allocates no more than is there.
    fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::try_from(self.i32()?).map_err(|_| Malformed)?;
        if count > self.0.len() / least {
            return Err(Malformed);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn partitions(&mut self) -> Result<Vec<(&'a str, Vec<i32>)>, Malformed> {
        self.list(6, |cursor| {
            let topic = cursor.text()?.ok_or(Malformed)?;
            Ok((topic, cursor.list(4, Cursor::i32)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a Java consumer, version 3, subscribed to `t`, with partition 1 of it, generation 5, in rack `r`.
    const SUBSCRIPTION: &[u8] = &[
        0, 3, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 1,
        0, 0, 0, 5, 0, 1, b'r',
    ];

    #[test]
    fn subscriptions_of_each_version_are_read() {
        let read = Subscription::read(SUBSCRIPTION).unwrap();
        let expected =
            Subscription { version: 3, topics: vec!["t"], owned: vec![("t", vec![1])], rack: Some("r") };
        assert_eq!(read, expected);
        let mut later = SUBSCRIPTION.to_vec();
        later[1] = 9;
        later.extend([1, 2, 3]);
        assert_eq!(Subscription::read(&later).unwrap(), expected);
        let first = [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0];
        let expected = Subscription { version: 0, topics: vec!["t"], owned: vec![], rack: None };
        assert_eq!(Subscription::read(&first).unwrap(), expected);
    }

    #[test]
    fn assignments_are_written_and_read() {
        let bytes = write_assignment(&[("t", &[0, 2]), ("u", &[1])], 3);
        let expected =
            Assignment { partitions: vec![("t", vec![0, 2]), ("u", vec![1])], has_user_data: false };
        assert_eq!(Assignment::read(&bytes).unwrap(), expected);
        assert!(Assignment::read(&[]).unwrap().partitions.is_empty());
        let with_data = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7];
        assert!(Assignment::read(&with_data).unwrap().has_user_data);
    }

    #[test]
    fn what_is_cut_or_lies_is_malformed() {
        for length in 0..SUBSCRIPTION.len() {
            assert_eq!(Subscription::read(&SUBSCRIPTION[..length]), Err(Malformed), "{length}");
        }
        assert_eq!(Subscription::read(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]), Err(Malformed));
        assert_eq!(Subscription::read(&[0, 0, 0xff, 0xff, 0xff, 0xff]), Err(Malformed));
        assert_eq!(Subscription::read(&[0xff, 0xff, 0, 0, 0, 0]), Err(Malformed));
        assert_eq!(Subscription::read(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff, 0, 0, 0, 0]), Err(Malformed));
    }
}
