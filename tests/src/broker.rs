//! Brokers under test: on loopback, on free ports, in a temporary folder, gone when the test ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::raw::Raw;

/// A broker as a process of its own, as users run it.
pub struct Process {
    child: Child,
    folder: TempDir,
    overrides: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where the broker's log goes; standard error of the test without it.
    log: Option<PathBuf>,
    /// A command that runs the broker, with what it is to be told before the broker's own program.
    under: Vec<String>,
    pub kafka: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    /// Starts `ottla server` with these overrides (`key=value`).
    pub fn start(overrides: &[&str]) -> Result<Process> {
        Process::start_with(overrides, &[])
    }

    /// As [`Process::start`], with environment variables.
    pub fn start_with(overrides: &[&str], environment: &[(&str, &str)]) -> Result<Process> {
        let folder = tempfile::tempdir()?;
        let overrides: Vec<String> = overrides.iter().map(|one| (*one).to_owned()).collect();
        let environment: Vec<(String, String)> =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Process::launch(folder, overrides, environment, Vec::new(), None)
    }

    /// As [`Process::start`], by a command such as `prlimit`, and with the broker's log in a file: [`Process::log`].
    pub fn start_under(under: &[&str], overrides: &[&str]) -> Result<Process> {
        let folder = tempfile::tempdir()?;
        let log = tempfile::Builder::new().prefix("ottla-log").tempfile()?.into_temp_path().keep()?;
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Process::launch(folder, own(overrides), Vec::new(), own(under), Some(log))
    }

    fn launch(
        folder: TempDir,
        overrides: Vec<String>,
        environment: Vec<(String, String)>,
        under: Vec<String>,
        log: Option<PathBuf>,
    ) -> Result<Process> {
        let any = "127.0.0.1:0".parse()?;
        let launch =
            Launch { under: &under, overrides: &overrides, environment: &environment, log: log.as_deref() };
        let (child, kafka, admin) = launch.spawn(folder.path(), any)?;
        Ok(Process { child, folder, overrides, environment, log, under, kafka, admin })
    }

    /// What the broker has logged so far, over all its starts.
    pub fn log(&self) -> Result<String> {
        let path = self.log.as_ref().context("the log of this broker goes to standard error")?;
        Ok(std::fs::read_to_string(path)?)
    }

    /// Waits until the process ends by itself. Answers whether it ended well.
    pub fn wait(&mut self) -> Result<bool> {
        Ok(self.child.wait()?.success())
    }

    /// The folder of `log.dirs`.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn terminate(&mut self) -> Result<()> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        if !status.success() {
            bail!("kill failed");
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the broker ended with {status}");
        }
        Ok(())
    }

    /// True if the process ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Starts the broker again on the same port and folder, with other environment variables.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        self.environment =
            environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.restart()
    }

    /// Starts the broker again, on the same port and folder.
    pub fn restart(&mut self) -> Result<()> {
        let launch = Launch {
            under: &self.under,
            overrides: &self.overrides,
            environment: &self.environment,
            log: self.log.as_deref(),
        };
        let (child, kafka, admin) = launch.spawn(self.folder.path(), self.kafka)?;
        (self.child, self.kafka, self.admin) = (child, kafka, admin);
        Ok(())
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Raw> {
        Raw::connect(self.kafka).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = &self.log {
            let _ = std::fs::remove_file(log);
        }
    }
}

/// How a broker is started.
struct Launch<'a> {
    under: &'a [String],
    overrides: &'a [String],
    environment: &'a [(String, String)],
    log: Option<&'a Path>,
}

impl Launch<'_> {
    fn spawn(&self, folder: &Path, kafka: SocketAddr) -> Result<(Child, SocketAddr, SocketAddr)> {
        let mut words = self.under.iter().map(Into::into).chain([program()?.into_os_string()]);
        let mut command = Command::new(words.next().context("there is always the program")?);
        command.args(words).arg("server");
        if let Some(log) = self.log {
            command.stderr(std::fs::File::options().append(true).create(true).open(log)?);
        }
        start(command, folder, kafka, self.overrides, self.environment)
    }
}

fn start(
    mut command: Command,
    folder: &Path,
    kafka: SocketAddr,
    overrides: &[String],
    environment: &[(String, String)],
) -> Result<(Child, SocketAddr, SocketAddr)> {
    let fixed = [
        format!("log.dirs={}", folder.display()),
        format!("listeners=PLAINTEXT://{kafka}"),
        "ottla.admin.listener=127.0.0.1:0".to_owned(),
    ];
    for one in fixed.iter().chain(overrides) {
        command.arg("--override").arg(one);
    }
    let mut child = command
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match ready(&line) {
        Some((kafka, admin)) => Ok((child, kafka, admin)),
        None => {
            let status = child.wait()?;
            bail!("the broker did not start ({status}), and said {line:?}")
        }
    }
}

/// Reads `ready kafka=ADDRESS admin=ADDRESS`.
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut words = line.strip_prefix("ready ")?.split_whitespace();
    let kafka = words.next()?.strip_prefix("kafka=")?.parse().ok()?;
    let admin = words.next()?.strip_prefix("admin=")?.parse().ok()?;
    Some((kafka, admin))
}

/// Whether the broker ends at the places that `OTTLA_FAILPOINTS` names: only then does it know that name.
pub fn has_failpoints() -> Result<bool> {
    let status = Command::new("grep").args(["-qaF", "OTTLA_FAILPOINTS"]).arg(program()?).status()?;
    Ok(status.success())
}

/// The binary that was built along with this test, or the one that `OTTLA_TEST_PROGRAM` names.
pub fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("OTTLA_TEST_PROGRAM") {
        return Ok(named.into());
    }
    let test = std::env::current_exe()?;
    let built = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?.join("ottla");
    if !built.exists() {
        bail!("{} does not exist: run `cargo test --workspace`, which builds it", built.display());
    }
    Ok(built)
}
