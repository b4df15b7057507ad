//! Bits that flipped while nobody looked: a fetch carries them to the client, whose CRC check finds them, `ottla topic
//! verify` says where they are, and whatever file they are in, a broker starts or says why not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ottla_tests::broker::{Process, program};
use ottla_tests::client::{Client, batch};

use crate::random::Random;

/// Runs `ottla topic verify t`. Answers whether it ended well, and what it printed.
fn verify(broker: &Process, more: &[&str]) -> Result<(bool, String)> {
    let server = broker.kafka.to_string();
    let mut command = Command::new(program()?);
    command.args(["topic", "verify", "t", "--bootstrap-server", &server]).args(more);
    let output = tokio::task::block_in_place(|| command.output())?;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    Ok((output.status.success(), text))
}

fn flip(path: &Path, at: usize, bit: u32) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    *bytes.get_mut(at).context("the file is shorter")? ^= 1 << bit;
    Ok(std::fs::write(path, bytes)?)
}

async fn filled(broker: &Process) -> Result<()> {
    let mut client = Client::connect(broker.kafka).await?;
    ensure!(client.create("t", 2, &[("index.interval.bytes", "500")]).await?.0 == 0);
    let producer = client.producer().await?;
    for round in 0..40 {
        for partition in 0..2 {
            let mut from = producer;
            from.base_sequence = round;
            let value = format!("{round} {}", "x".repeat(200));
            let answer = client.produce("t", partition, batch(&[&value], Some(from))?, -1).await?;
            ensure!(answer.error_code == 0);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_reach_the_client_and_are_found_by_verification() -> Result<()> {
    let mut broker = Process::start_under(&[], &[])?;
    filled(&broker).await?;
    let (sound, said) = verify(&broker, &[])?;
    ensure!(sound && said.contains("PARTITION"), "{said}");
    broker.terminate()?;

    let log = broker.data().join("t-1/00000000000000000000.log");
    flip(&log, 1_000, 3)?;
    flip(&broker.data().join("t-0/00000000000000000000.timeindex"), 9, 1)?;
    broker.restart()?;
    let mut client = Client::connect(broker.kafka).await?;
    ensure!(client.read_all("t", 0).await?.len() == 40, "an index is a hint");
    let fetched = client.fetch("t", 1, 0, 0).await?;
    ensure!(fetched.error_code == 0 && fetched.records.is_some_and(|records| records.len() > 1_000));
    let refused = client.read_all("t", 1).await;
    ensure!(
        refused.is_err_and(|error| error.to_string().to_lowercase().contains("crc")),
        "the client checks"
    );

    let (sound, said) = verify(&broker, &["--partition", "1"])?;
    ensure!(!sound && said.contains("00000000000000000000.log") && said.contains("CRC"), "{said}");
    let (sound, said) = verify(&broker, &["--output", "json"])?;
    let json: serde_json::Value = serde_json::from_str(said.lines().next().unwrap_or_default())?;
    ensure!(!sound && json["sound"] == false, "{said}");
    let damage = &json["partitions"][1]["log"]["damages"][0];
    ensure!(damage["first_offset"] == 3 && damage["last_offset"] == 3, "{damage}");
    ensure!(damage["position"].as_u64().is_some_and(|position| position < 1_000), "{damage}");
    ensure!(broker.log()?.contains("verification found damage"));
    ensure!(!verify(&broker, &["--partition", "7"])?.0, "an unknown partition is an error");
    broker.terminate()
}

/// A bit in any file at all, those of the cluster's metadata among them.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_a_flipped_bit_starts_or_says_why_not() -> Result<()> {
    let mut random = Random::new(7);
    let mut broker = Process::start_under(&[], &[])?;
    filled(&broker).await?;
    broker.terminate()?;
    let sound = tempfile::tempdir()?;
    copy(broker.data(), sound.path())?;
    let mut started = 0;
    const ROUNDS: u64 = 24;
    for round in 0..ROUNDS {
        for entry in std::fs::read_dir(broker.data())? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        copy(sound.path(), broker.data())?;
        let mut files = Vec::new();
        list(broker.data(), &mut files)?;
        let path = &files[random.below(files.len() as u64) as usize];
        let len = std::fs::metadata(path)?.len();
        flip(path, random.below(len) as usize, random.below(8) as u32)?;
        if round % 2 == 0 {
            // An unclean start looks at more.
            let _ = std::fs::remove_file(broker.data().join(".kafka_cleanshutdown"));
        }
        let said_before = broker.log()?.len();
        let restarted = broker.restart();
        let said = broker.log()?.split_off(said_before);
        ensure!(!said.contains("panicked"), "{}: {said}", path.display());
        match restarted {
            Ok(()) => {
                started += 1;
                let mut client = Client::connect(broker.kafka).await?;
                for partition in 0..2 {
                    let _ = client.read_all("t", partition).await;
                }
                let _ = verify(&broker, &[])?;
                ensure!(!broker.log()?.contains("panicked"), "{}", path.display());
                broker.kill()?;
            }
            Err(error) => ensure!(said.contains("ottla:"), "{}: {error}: {said}", path.display()),
        }
    }
    println!("{started} of {ROUNDS} started");
    ensure!(started > ROUNDS / 2);
    Ok(())
}

/// All files that hold anything.
fn list(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list(&path, into)?,
            false if std::fs::metadata(&path)?.len() > 0 => into.push(path),
            false => {}
        }
    }
    into.sort();
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
