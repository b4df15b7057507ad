//! `ottla group lag --watch`: the table again and again. On a terminal it is drawn in place, as much of it as there is
//! room for, trouble first; elsewhere each look is printed below the one before, for a log or a pipe.

use super::report::{Source, rows, summary};
use crate::connect::Connect;
use crate::output::{Output, table};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Looks that a sparkline shows.
const HISTORY_MAX: usize = 24;

/// The size of a terminal that does not tell.
const SIZE_UNKNOWN: (usize, usize) = (80, 24);

/// Lines around the partitions: the summary, the heading, what did not fit, the foot.
const LINES_AROUND: usize = 5;

pub async fn run(connect: &Connect, source: &mut Source, interval: Duration) -> anyhow::Result<()> {
    let mut history = History::default();
    let first = history.continued(source.look().await?);
    let drawn = connect.output == Output::Text && std::io::stdout().is_terminal();
    let mut screen = drawn.then(Screen::open).transpose()?;
    let mut last = Ok(first);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        match (&mut screen, &last) {
            (Some(screen), last) => screen.draw(last, interval)?,
            (None, Ok(report)) => connect.output.print(report, || plain(report))?,
            (None, Err(error)) => eprintln!("ottla: {error:#}"),
        }
        tokio::select! {
            _ = &mut interrupted => break,
            () = tokio::time::sleep(interval) => {}
        }
        // A broker that is restarted is met again.
        last = source.look().await.map(|report| history.continued(report));
    }
    drop(screen);
    if let (true, Ok(report)) = (drawn, &last) {
        // What was seen last stays below the prompt.
        connect.output.print(report, || plain(report))?;
    }
    Ok(())
}

fn plain(report: &Value) -> String {
    format!("{}\n{}", summary(report), table(&rows(report, HISTORY_MAX)))
}

/// The lag of each partition at each look: a reader that has stopped commits nothing, and its lag grows all the same.
#[derive(Default)]
struct History {
    lags: HashMap<(String, i64), VecDeque<i64>>,
}

impl History {
    /// The report with the lags of all looks as `recent`, begun with those that the broker remembers.
    fn continued(&mut self, mut report: Value) -> Value {
        let mut lags = HashMap::new();
        for one in report["partitions"].as_array_mut().into_iter().flatten() {
            let key =
                (one["topic"].as_str().unwrap_or("").to_owned(), one["partition"].as_i64().unwrap_or(-1));
            let mut seen = self.lags.remove(&key).unwrap_or_else(|| {
                one["recent"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
            });
            seen.extend(one["lag"].as_i64());
            while seen.len() > HISTORY_MAX {
                seen.pop_front();
            }
            one["recent"] = seen.iter().copied().collect();
            lags.insert(key, seen);
        }
        self.lags = lags;
        report
    }
}

/// The terminal's other screen, which leaves what was there before; given back when dropped.
struct Screen {
    coloured: bool,
}

impl Screen {
    fn open() -> std::io::Result<Screen> {
        // The other screen, without a cursor.
        write_out("\x1b[?1049h\x1b[?25l")?;
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Ok(Screen { coloured })
    }

    fn draw(&mut self, last: &anyhow::Result<Value>, interval: Duration) -> std::io::Result<()> {
        let lines = match last {
            Ok(report) => frame(report, size(), interval),
            Err(error) => vec![format!("{error:#}"), "trying again; Ctrl-C ends".to_owned()],
        };
        let mut text = "\x1b[H".to_owned();
        for line in lines {
            let line = if self.coloured { colour(&line) } else { line };
            // To the line's end and to the screen's end: what an earlier frame left there.
            text.push_str(&format!("{line}\x1b[K\r\n"));
        }
        text.push_str("\x1b[J");
        write_out(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // An error means that the terminal has gone.
        let _ = write_out("\x1b[?25h\x1b[?1049l");
    }
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Columns and lines.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => SIZE_UNKNOWN,
    }
}

/// The lines of one picture, none longer than the terminal is wide and no more than it is high.
fn frame(report: &Value, (columns, lines): (usize, usize), interval: Duration) -> Vec<String> {
    let mut report = report.clone();
    let mut left_out = 0;
    if let Some(partitions) = report["partitions"].as_array_mut() {
        partitions.sort_by_key(|one| std::cmp::Reverse(severity(&one["status"])));
        let room = lines.saturating_sub(LINES_AROUND).max(1);
        left_out = partitions.len().saturating_sub(room);
        partitions.truncate(room);
    }
    let mut picture = vec![summary(&report), String::new()];
    picture.extend(table(&rows(&report, HISTORY_MAX)).lines().map(str::to_owned));
    let foot = format!("every {} s; Ctrl-C ends", interval.as_secs());
    picture.push(match left_out {
        0 => foot,
        others => format!("and {others} more partitions, none in a worse state; {foot}"),
    });
    // A line that fills the last column would lose it to the clearing behind it.
    let cut = |line: String| line.chars().take(columns.saturating_sub(1)).collect();
    picture.into_iter().map(cut).collect()
}

fn severity(status: &Value) -> u8 {
    match status.as_str() {
        Some("OK" | "NOTFOUND") | None => 0,
        Some("WARN") => 1,
        Some(_) => 2,
    }
}

/// A row begins with its status, the summary has the group's behind its name.
fn colour(line: &str) -> String {
    let paint = |word: &str| match word {
        "OK" => Some("\x1b[32m"),
        "WARN" => Some("\x1b[33m"),
        "ERR" | "STOP" | "STALL" | "REWIND" => Some("\x1b[31m"),
        _ => None,
    };
    let at = if line.starts_with("group ") { line.find(": ").map_or(0, |at| at + 2) } else { 0 };
    let rest = &line[at..];
    let end = rest.find([' ', ',']).unwrap_or(rest.len());
    match paint(&rest[..end]) {
        Some(code) => format!("{}{code}{}\x1b[0m{}", &line[..at], &rest[..end], &rest[end..]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(partitions: usize) -> Value {
        let partitions: Vec<_> = (0..partitions)
            .map(|index| {
                let status = if index == 7 { "STOP" } else { "OK" };
                json!({ "topic": "t", "partition": index, "lag": index, "offset": 0, "end": index, "status": status, "recent": [3] })
            })
            .collect();
        json!({ "group": "g", "status": "ERR", "records_lag": 1, "records_lag_max": 1, "partitions": partitions })
    }

    #[test]
    fn a_picture_fits_its_terminal_and_shows_trouble_first() {
        let picture = frame(&report(50), (40, 20), Duration::from_secs(2));
        assert!(picture.len() < 20, "{picture:?}");
        assert!(picture.iter().all(|line| line.chars().count() < 40));
        assert!(picture[3].starts_with("STOP"), "{picture:?}");
        assert!(picture.last().is_some_and(|foot| foot.starts_with("and 35 more partitions")), "{picture:?}");
        assert!(
            frame(&report(9), (200, 40), Duration::from_secs(2)).iter().all(|line| !line.contains("more"))
        );
    }

    #[test]
    fn looks_follow_what_the_broker_remembers() {
        let mut history = History::default();
        let recent = |report: &Value| report["partitions"][2]["recent"].clone();
        assert_eq!(recent(&history.continued(report(3))), json!([3, 2]));
        assert_eq!(recent(&history.continued(report(3))), json!([3, 2, 2]));
        for _ in 0..100 {
            history.continued(report(3));
        }
        let last = history.continued(report(3));
        assert_eq!(recent(&last).as_array().map(Vec::len), Some(HISTORY_MAX));
    }

    #[test]
    fn only_states_are_coloured() {
        assert_eq!(colour("OK  t  0"), "\x1b[32mOK\x1b[0m  t  0");
        assert_eq!(colour("group OK: WARN, 3 records"), "group OK: \x1b[33mWARN\x1b[0m, 3 records");
        assert_eq!(colour("STATUS  TOPIC"), "STATUS  TOPIC");
        assert_eq!(colour(""), "");
    }
}
