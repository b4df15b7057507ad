//! Runs the program: a broker in a temporary folder, and commands that talk to it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ottla");

pub struct Broker {
    child: Child,
    pub kafka: String,
    pub dir: tempfile::TempDir,
}

impl Broker {
    pub fn start() -> Broker {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(PROGRAM)
            .arg("server")
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "ottla.admin.listener=127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.path().join("data").display())])
            .env("OTTLA_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("a line");
        let mut words = ready.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "{ready}");
        let mut address = |key| words.next().and_then(|word| word.strip_prefix(key)).expect(key).to_owned();
        let kafka = address("kafka=");
        assert!(!address("admin=").is_empty(), "{ready}");
        Broker { child, kafka, dir }
    }

    /// Runs a command and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        self.json_with_input(args, "")
    }

    pub fn json_with_input(&self, args: &[&str], input: &str) -> Value {
        let lines = self.lines(args, input);
        assert_eq!(lines.len(), 1, "{args:?}: {lines:?}");
        lines.into_iter().next().expect("one line")
    }

    /// Runs a command and returns each line of its JSON.
    pub fn lines(&self, args: &[&str], input: &str) -> Vec<Value> {
        let output = self.run(&[args, &["--output", "json"]].concat(), input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Runs a command as a person would.
    pub fn text(&self, args: &[&str]) -> String {
        let output = self.run(args, "");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail, and returns its sentence.
    pub fn failure(&self, args: &[&str]) -> String {
        let output = self.run(args, "");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// Starts a command that goes on by itself.
    pub fn spawn(&self, args: &[&str]) -> Child {
        spawn(&[args, &["--bootstrap-server", &self.kafka]].concat())
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        run(&[args, &["--bootstrap-server", &self.kafka]].concat(), input)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(args: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

pub fn run(args: &[&str], input: &str) -> Output {
    let mut child = spawn(args);
    // A command that reads nothing may have ended.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}
