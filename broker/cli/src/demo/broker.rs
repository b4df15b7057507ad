//! The demo's broker: this same program as `ottla server`, on free ports, with its data in a temporary folder.

use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const READY_MAX: Duration = Duration::from_secs(30);
/// SIGTERM ends a broker within a second.
const STOP_MAX: Duration = Duration::from_secs(5);

pub struct Broker {
    child: Child,
    /// None once it is kept.
    dir: Option<tempfile::TempDir>,
    path: std::path::PathBuf,
    pub kafka: String,
    pub admin: String,
    /// From exec to ready.
    pub took: Duration,
}

impl Broker {
    pub async fn start() -> anyhow::Result<Broker> {
        let dir = tempfile::Builder::new().prefix("ottla-demo-").tempdir().context("no temporary folder")?;
        let program = std::env::current_exe().context("this program does not find itself")?;
        let log = std::fs::File::create(dir.path().join("broker.log")).context("no temporary file")?;
        let begin = Instant::now();
        let mut child = Command::new(program)
            .arg("server")
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "ottla.admin.listener=127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.path().join("data").display())])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // A group of its own: Ctrl-C is for the demo, which then ends the broker itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the broker does not start")?;
        let stdout = child.stdout.take().context("the broker's output is not there")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = match tokio::time::timeout(READY_MAX, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            _ => {
                let log = std::fs::read_to_string(dir.path().join("broker.log")).unwrap_or_default();
                bail!("the broker was not ready within {READY_MAX:?}; it said:\n{log}");
            }
        };
        let address = |key: &str| {
            let found = ready.split(' ').find_map(|part| part.strip_prefix(key));
            found.map(str::to_owned).with_context(|| format!("`{ready}` has no {key}"))
        };
        let (kafka, admin) = (address("kafka=")?, address("admin=")?);
        let path = dir.path().to_owned();
        Ok(Broker { child, dir: Some(dir), path, kafka, admin, took: begin.elapsed() })
    }

    pub fn dir(&self) -> &Path {
        &self.path
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Lets the broker outlive the demo.
    pub fn keep(&mut self) {
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
    }

    /// Ends the broker as an operator would; the folder goes with it.
    pub async fn stop(&mut self) {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(STOP_MAX, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        self.dir.take();
    }
}
