//! The producers of a run: tasks of this process, or processes of other languages. All take credit, the number of
//! records that they may have sent by now, so that the run lasts as long as its events; all tell which records were
//! acknowledged, the processes by a file that they append to.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::producer::RustProducer;
use super::topic::TOPIC;
use super::workload::{KEYS, PARTITIONS};

/// In what a producer is written.
#[derive(Clone, Debug)]
pub enum Language {
    Rust,
    /// The interpreter that has librdkafka's binding.
    Python(PathBuf),
    /// The class path that has Apache's client.
    Java(String),
}

enum Running {
    Task { credit: watch::Sender<u64>, task: Option<JoinHandle<Result<()>>> },
    Process { child: Child, stdin: Option<ChildStdin>, log: PathBuf, read: u64, rest: String },
}

pub struct Client {
    pub number: u32,
    pub records: u64,
    /// It was ended on the way, and nobody takes its place.
    pub lost: bool,
    acknowledged: Arc<Mutex<Vec<u64>>>,
    running: Running,
}

impl Client {
    pub fn start(
        language: &Language,
        number: u32,
        records: u64,
        value_bytes: usize,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Client> {
        let acknowledged = Arc::<Mutex<Vec<u64>>>::default();
        let running = match language {
            Language::Rust => {
                let (sender, credit) = watch::channel(0);
                let acknowledged = acknowledged.clone();
                let producer = RustProducer { number, records, value_bytes, address, credit, acknowledged };
                Running::Task { credit: sender, task: Some(tokio::spawn(producer.run())) }
            }
            Language::Python(interpreter) => {
                let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/exactly_once.py");
                let mut command = Command::new(interpreter);
                command.arg(program);
                process(command, number, records, value_bytes, address, folder)?
            }
            Language::Java(class_path) => {
                let mut command = Command::new("java");
                command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", class_path]);
                command.arg("clients.ExactlyOnce");
                process(command, number, records, value_bytes, address, folder)?
            }
        };
        Ok(Client { number, records, lost: false, acknowledged, running })
    }

    /// Lets it send up to this many records in all.
    pub fn grant(&mut self, credit: u64) -> Result<()> {
        match &mut self.running {
            Running::Task { credit: sender, .. } => {
                sender.send_replace(credit);
            }
            Running::Process { stdin: Some(stdin), .. } => {
                writeln!(stdin, "{credit}").context("a client takes no more credit")?;
            }
            Running::Process { stdin: None, .. } => {}
        }
        Ok(())
    }

    /// Indices of the acknowledged records so far.
    pub fn acknowledged(&mut self) -> Result<Vec<u64>> {
        self.catch_up()?;
        Ok(self.acknowledged.lock().clone())
    }

    pub fn acknowledged_count(&mut self) -> Result<u64> {
        self.catch_up()?;
        Ok(self.acknowledged.lock().len() as u64)
    }

    /// Reads what was appended to a process's file.
    fn catch_up(&mut self) -> Result<()> {
        let Running::Process { log, read, rest, .. } = &mut self.running else { return Ok(()) };
        let Ok(mut file) = File::open(log) else { return Ok(()) };
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(*read))?;
        *read += file.read_to_string(rest)? as u64;
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        let mut acknowledged = self.acknowledged.lock();
        for line in rest[..whole].lines() {
            match line.strip_prefix("failed ") {
                Some(what) => bail!("a record of producer {} failed: {what}", self.number),
                None => acknowledged.push(line.parse().with_context(|| format!("no index: {line}"))?),
            }
        }
        rest.drain(..whole);
        Ok(())
    }

    /// Fails if it ended before its time.
    pub async fn check(&mut self) -> Result<()> {
        if self.lost {
            return Ok(());
        }
        match &mut self.running {
            Running::Task { task, .. } => match task.take_if(|task| task.is_finished()) {
                Some(task) => task.await?,
                None => Ok(()),
            },
            Running::Process { child, .. } => match child.try_wait()? {
                Some(status) if !status.success() => {
                    bail!("producer {} ended with {status}", self.number)
                }
                _ => Ok(()),
            },
        }
    }

    /// Ends it at once, whatever is under way.
    pub fn lose(&mut self) -> Result<()> {
        self.lost = true;
        match &mut self.running {
            Running::Task { task, .. } => {
                if let Some(task) = task.take() {
                    task.abort();
                }
            }
            Running::Process { child, stdin, .. } => {
                child.kill()?;
                child.wait()?;
                *stdin = None;
            }
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.lose();
    }
}

fn process(
    mut command: Command,
    number: u32,
    records: u64,
    value_bytes: usize,
    address: SocketAddr,
    folder: &Path,
) -> Result<Running> {
    let log = folder.join(format!("producer-{number}"));
    let arguments = [
        ("--bootstrap", address.to_string()),
        ("--topic", TOPIC.to_owned()),
        ("--partitions", PARTITIONS.to_string()),
        ("--keys", KEYS.to_string()),
        ("--producer", number.to_string()),
        ("--records", records.to_string()),
        ("--value-bytes", value_bytes.to_string()),
        ("--log", log.display().to_string()),
    ];
    for (name, value) in arguments {
        command.arg(name).arg(value);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stdin = child.stdin.take();
    Ok(Running::Process { child, stdin, log, read: 0, rest: String::new() })
}
