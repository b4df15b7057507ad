//! Times and durations as an operator writes them: ISO 8601, as Kafka's tool takes them, and short forms as `90m`.
//! A time without a zone is UTC: what a command does must not depend on where it is typed.

/// Milliseconds since 1970 of `2026-01-31T12:00[:00[.000]][Z|+01:00]`, or of a date alone.
///
/// # Errors
/// Says what is expected.
pub fn datetime(text: &str) -> Result<i64, String> {
    parse_datetime(text).ok_or_else(|| {
        format!("`{text}` is no time: write it as 2026-01-31T12:00:00Z or 2026-01-31T13:00+01:00")
    })
}

/// Milliseconds of `P1DT2H30M`, `PT90S`, `90s`, `1h30m`, `7d`, `500ms`.
///
/// # Errors
/// Says what is expected.
pub fn duration(text: &str) -> Result<i64, String> {
    let parsed = match text.strip_prefix('P') {
        Some(iso) => parse_iso(iso),
        None => parse_short(text),
    };
    parsed.ok_or_else(|| format!("`{text}` is no duration: write it as 90m, 1h30m, 7d or P1DT2H30M"))
}

fn parse_datetime(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers::<3>(date, '-', &[4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1970..=9999).contains(&year) || !(1..=days_of_month).contains(&day) {
        return None;
    }
    let (time, zone_minutes) = split_zone(time)?;
    let (time, millis) = match time.split_once('.') {
        Some((time, fraction)) => (time, fraction_ms(fraction)?),
        None => (time, 0),
    };
    let [hour, minute, second] = match time.len() {
        5 => {
            let [hour, minute] = numbers::<2>(time, ':', &[2, 2])?;
            [hour, minute, 0]
        }
        _ => numbers::<3>(time, ':', &[2, 2, 2])?,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - zone_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

/// The time without its zone, and the zone's minutes east of Greenwich.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(utc) = time.strip_suffix('Z') {
        return Some((utc, 0));
    }
    let Some(at) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (time, zone) = time.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let zone = &zone[1..];
    let [hours, minutes] = match zone.len() {
        2 => [zone.parse().ok()?, 0],
        4 => [zone.get(..2)?.parse().ok()?, zone.get(2..)?.parse().ok()?],
        _ => numbers::<2>(zone, ':', &[2, 2])?,
    };
    (hours <= 18 && minutes <= 59).then_some((time, sign * (hours * 60 + minutes)))
}

/// Exactly so many numbers, of so many digits each.
fn numbers<const N: usize>(text: &str, separator: char, digits: &[usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != *digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// What follows the point of a second, to the millisecond.
fn fraction_ms(digits: &str) -> Option<i64> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<3}")[..3].parse().ok()
}

/// Days of the civil calendar: years begin in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Behind the `P`: days, then behind a `T` hours, minutes and seconds.
fn parse_iso(text: &str) -> Option<i64> {
    let (days, time) = text.split_once('T').unwrap_or((text, ""));
    if text.ends_with('T') || text.is_empty() {
        return None;
    }
    let days = sum(days, &[("W", 7 * DAY), ("D", DAY)])?;
    days.checked_add(sum(time, &[("H", HOUR), ("M", MINUTE), ("S", SECOND)])?)
}

fn parse_short(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    sum(text, &[("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)])
}

/// Numbers with units behind them, each unit at most once and in this order.
fn sum(mut text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let mut total = 0i64;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|letter: char| !letter.is_ascii_digit())?;
        let (number, rest) = text.split_at(end);
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let (_, ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*ms)?)?;
        text = rest;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:01.5Z", 1_500),
            ("2000-02-29T00:00Z", 951_782_400_000),
            ("2026-01-01T00:00:00Z", 1_767_225_600_000),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600_000),
            ("2025-12-31T19:00:00.000-0500", 1_767_225_600_000),
            ("2026-01-01 00:00:00", 1_767_225_600_000),
            ("2026-03-01T00:00:00Z", 1_772_323_200_000),
        ] {
            assert_eq!(datetime(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T24:00",
            "2026-01-01T00:60",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+25:00",
            "1969-12-31",
            "2026-01-01T00:00:00Zulu",
            "20é6-01-01",
        ] {
            assert!(datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("500ms", 500),
            ("0s", 0),
            ("P1D", 86_400_000),
            ("PT5M", 300_000),
            ("P1DT2H30M", 95_400_000),
        ] {
            assert_eq!(duration(text), Ok(ms), "{text}");
        }
        for text in ["", "90", "h", "1x", "30m1h", "P", "PT", "P1H", "1h-", "99999999999999999999d", "-1h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
