//! `--to WHERE`: what an operator asks for, and which offset that is in a partition.

use super::when;
use std::str::FromStr;

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Earliest,
    Latest,
    /// What is committed, brought back into the log where it has left it.
    Current,
    Offset(i64),
    /// From what is committed; below 0 reads again.
    Shift(i64),
    /// The first record at or after that time, in milliseconds since 1970.
    Time(i64),
    /// The same, so many milliseconds before now.
    Ago(i64),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<To, String> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let number = |make: fn(i64) -> To, least: i64| match value.parse() {
            Ok(number) if number >= least => Ok(make(number)),
            _ => Err(format!("`{value}` is no number that {kind} can take")),
        };
        match kind {
            "earliest" | "latest" | "current" if text.contains(':') => Err(format!("{kind} takes no value")),
            "earliest" => Ok(To::Earliest),
            "latest" => Ok(To::Latest),
            "current" => Ok(To::Current),
            "offset" => number(To::Offset, 0),
            "shift" => number(To::Shift, i64::MIN),
            "timestamp" => number(To::Time, 0),
            "datetime" => when::datetime(value).map(To::Time),
            "duration" => when::duration(value).map(To::Ago),
            _ => Err(
                "give earliest, latest, current, offset:N, shift:N, datetime:T, timestamp:MS or duration:D"
                    .to_owned(),
            ),
        }
    }
}

/// The new offset, within the log, with a note where that is not what was asked for; none where there is nothing to
/// shift from.
pub fn target(
    to: To,
    from: Option<i64>,
    at_time: Option<i64>,
    begin: i64,
    end: i64,
) -> Option<(i64, Option<&'static str>)> {
    let wanted = match to {
        To::Earliest => begin,
        To::Latest => end,
        To::Offset(offset) => offset,
        To::Shift(by) => from?.saturating_add(by),
        To::Current => match from {
            Some(from) => from,
            None => return Some((end, Some("nothing was committed: the end"))),
        },
        To::Time(_) | To::Ago(_) => match at_time {
            Some(offset) => offset,
            None => return Some((end, Some("no record is that new: the end"))),
        },
    };
    Some(match wanted {
        _ if wanted < begin => (begin, Some("older records are gone: the beginning")),
        _ if wanted > end => (end, Some("beyond the end: the end")),
        _ => (wanted, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!("earliest".parse(), Ok(To::Earliest));
        assert_eq!("offset:17".parse(), Ok(To::Offset(17)));
        assert_eq!("shift:-3".parse(), Ok(To::Shift(-3)));
        assert_eq!("datetime:1970-01-01T00:00:02Z".parse(), Ok(To::Time(2_000)));
        assert_eq!("timestamp:5".parse(), Ok(To::Time(5)));
        assert_eq!("duration:2h".parse(), Ok(To::Ago(7_200_000)));
        for wrong in
            ["", "17", "offset", "offset:-1", "offset:x", "latest:3", "datetime:soon", "duration:", "end"]
        {
            assert!(wrong.parse::<To>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn targets_lie_within_the_log() {
        let to = |to: To, from: Option<i64>, at: Option<i64>| target(to, from, at, 10, 20);
        let offset =
            |found: Option<(i64, Option<&'static str>)>| found.map(|(offset, note)| (offset, note.is_some()));
        for (wanted, from, at, expected) in [
            (To::Earliest, None, None, Some((10, false))),
            (To::Latest, Some(12), None, Some((20, false))),
            (To::Current, Some(12), None, Some((12, false))),
            (To::Current, Some(3), None, Some((10, true))),
            (To::Current, None, None, Some((20, true))),
            (To::Offset(15), None, None, Some((15, false))),
            (To::Offset(9), None, None, Some((10, true))),
            (To::Offset(21), None, None, Some((20, true))),
            (To::Shift(-2), Some(15), None, Some((13, false))),
            (To::Shift(-9), Some(15), None, Some((10, true))),
            (To::Shift(i64::MAX), Some(15), None, Some((20, true))),
            (To::Shift(1), None, None, None),
            (To::Time(5), None, Some(14), Some((14, false))),
            (To::Ago(5), None, None, Some((20, true))),
        ] {
            assert_eq!(offset(to(wanted, from, at)), expected, "{wanted:?} from {from:?}");
        }
    }
}
