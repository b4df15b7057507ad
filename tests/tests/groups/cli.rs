//! `ottla group` and `ottla consume --group` at a broker that is killed meanwhile: nothing that they said was done is
//! undone, and what goes on by itself goes on after the restart.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ottla_tests::broker::{Process, program};
use serde_json::Value;

/// Nothing that is waited for takes so long.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Runs a command to its end, and returns what it printed.
fn ottla(broker: &Process, words: &[&str], input: &str) -> Result<String> {
    let mut child = spawn(broker, words)?;
    child.stdin.take().context("piped")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn json(broker: &Process, words: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&ottla(broker, &[words, &["--output", "json"]].concat(), "")?)?)
}

fn spawn(broker: &Process, words: &[&str]) -> Result<Child> {
    let child = Command::new(program()?)
        .args(words)
        .args(["--bootstrap-server", &broker.kafka.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok(child)
}

/// A command that goes on by itself, line by line. It ends with the test.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    fn start(broker: &Process, words: &[&str]) -> Result<Running> {
        let mut child = spawn(broker, words)?;
        let stdout = BufReader::new(child.stdout.take().context("piped")?);
        // What it complains of while the broker is away must not fill its pipe.
        let mut stderr = child.stderr.take().context("piped")?;
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Ok(Running { child, lines })
    }

    fn line(&self) -> Result<String> {
        self.lines.recv_timeout(WAIT_MAX).context("it prints no more")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: u32, to: u32) -> String {
    (from..to).map(|number| format!("{number}\n")).collect()
}

#[test]
fn what_a_reset_says_is_done_survives_a_kill() -> Result<()> {
    let mut broker = Process::start(&[])?;
    ottla(&broker, &["topic", "create", "orders", "--partitions", "3"], "")?;
    ottla(&broker, &["produce", "orders"], &lines(0, 100))?;
    for round in 1..=3 {
        let to = format!("timestamp:{round}");
        for group in ["billing", "mail", "search"] {
            let to = if group == "mail" { "latest" } else { &to };
            ottla(&broker, &["group", "reset", group, "--topic", "orders", "--to", to, "--execute"], "")?;
        }
        ottla(&broker, &["group", "delete", "search"], "")?;
        let seen = |broker: &Process| -> Result<[Value; 3]> {
            let list = json(broker, &["group", "list"])?;
            Ok([
                list,
                json(broker, &["group", "describe", "billing"])?,
                json(broker, &["group", "describe", "mail"])?,
            ])
        };
        let before = seen(&broker)?;
        ensure!(before[0]["groups"].as_array().map(Vec::len) == Some(2), "{}", before[0]);
        ensure!(before[1]["offsets"].as_array().map(Vec::len) == Some(3), "{}", before[1]);
        broker.kill()?;
        broker.restart()?;
        // The first of these may come while the offsets are still read from the log.
        ensure!(seen(&broker)? == before, "round {round}");
        ottla(&broker, &["group", "delete", "billing", "mail"], "")?;
    }
    Ok(())
}

#[test]
fn a_watch_meets_its_broker_again() -> Result<()> {
    let mut broker = Process::start(&[])?;
    ottla(&broker, &["topic", "create", "orders", "--partitions", "2"], "")?;
    ottla(&broker, &["produce", "orders", "--partition", "1"], &lines(0, 10))?;
    ottla(&broker, &["group", "reset", "billing", "--topic", "orders", "--to", "earliest", "--execute"], "")?;
    let words = ["group", "lag", "billing", "--watch", "--interval", "1", "--output", "json"];
    let watch = Running::start(&broker, &words)?;
    let until_lag = |wanted: i64| -> Result<()> {
        loop {
            let report: Value = serde_json::from_str(&watch.line()?)?;
            ensure!(report["group"] == "billing", "{report}");
            if report["records_lag"] == wanted {
                return Ok(());
            }
        }
    };
    until_lag(10)?;
    broker.kill()?;
    broker.restart()?;
    ottla(&broker, &["produce", "orders", "--partition", "0"], &lines(0, 5))?;
    until_lag(15)
}

#[test]
fn members_of_a_group_read_on_after_their_broker_was_killed() -> Result<()> {
    let mut broker = Process::start(&[])?;
    ottla(&broker, &["topic", "create", "orders", "--partitions", "4"], "")?;
    let words = ["consume", "orders", "--group", "billing", "--from", "beginning"];
    let members = [Running::start(&broker, &words)?, Running::start(&broker, &words)?];
    let (mut seen, mut from) = (BTreeSet::new(), 0);
    for round in 0..3 {
        for partition in ["0", "1", "2", "3"] {
            ottla(&broker, &["produce", "orders", "--partition", partition], &lines(from, from + 50))?;
            from += 50;
        }
        let begin = std::time::Instant::now();
        while seen.len() < from as usize {
            ensure!(begin.elapsed() < WAIT_MAX, "round {round}: {} of {from} records", seen.len());
            for member in &members {
                while let Ok(line) = member.lines.recv_timeout(Duration::from_millis(20)) {
                    seen.insert(line.parse::<u32>()?);
                }
            }
        }
        if round < 2 {
            broker.kill()?;
            broker.restart()?;
        }
    }
    ensure!(seen.iter().copied().eq(0..from), "each record, and no other");
    Ok(())
}
