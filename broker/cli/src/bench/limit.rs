//! `ottla bench limit`: the least that a broker must do for a record on this machine.
//! For produce: receive it from the loopback in pieces of 64 KiB, take its CRC32C, write it to a file. For fetch: send
//! it from that file with sendfile. What a broker needs beyond these is its own.

use super::report::rounded;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is received or sent at once.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Args)]
pub struct Limit {
    /// The figures are per record of that size
    #[arg(long, default_value_t = 1024)]
    record_size: u64,
    /// How much goes through, in MiB
    #[arg(long, default_value_t = 2048)]
    mib: u64,
    /// Where the file lies; the system's temporary folder without it
    #[arg(long)]
    dir: Option<PathBuf>,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What one way cost the thread that stands for the broker.
struct Cost {
    cpu: Duration,
    took: Duration,
}

impl Limit {
    pub fn run(self) -> anyhow::Result<()> {
        let total_bytes = (self.mib << 20).max(CHUNK_BYTES as u64);
        let mut file = match &self.dir {
            Some(dir) => {
                tempfile::tempfile_in(dir).with_context(|| format!("cannot write in {}", dir.display()))?
            }
            None => tempfile::tempfile().context("cannot write in the temporary folder")?,
        };
        let receive = receive(&mut file, total_bytes)?;
        file.rewind().context("the file cannot be read again")?;
        let send = send(&file, total_bytes)?;
        let records = total_bytes as f64 / self.record_size.max(1) as f64;
        let per_record = |cost: &Cost| rounded(cost.cpu.as_secs_f64() * 1e6 / records);
        let speed = |cost: &Cost| rounded(records / cost.took.as_secs_f64());
        let value = json!({
            "record_size": self.record_size,
            "receive_crc_write": { "cpu_us_per_record": per_record(&receive), "records_per_s": speed(&receive) },
            "sendfile": { "cpu_us_per_record": per_record(&send), "records_per_s": speed(&send) },
        });
        self.output.print(&value, || {
            format!(
                "per record of {} bytes: receive + crc32c + write {} µs CPU, sendfile {} µs CPU",
                self.record_size,
                per_record(&receive),
                per_record(&send),
            )
        })
    }
}

/// This thread's own processor time, which the other end of the connection does not touch.
fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Runs `work`, which stands for the broker, with the other end of a connection on a thread of its own.
fn connected(
    peer: impl FnOnce(TcpStream) -> std::io::Result<()> + Send + 'static,
    work: impl FnOnce(TcpStream) -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    let listener = TcpListener::bind("127.0.0.1:0").context("the loopback cannot be used")?;
    let address = listener.local_addr().context("the loopback cannot be used")?;
    let other = std::thread::spawn(move || peer(TcpStream::connect(address)?));
    let (socket, _) = listener.accept().context("the loopback cannot be used")?;
    let (cpu, begin) = (thread_cpu(), Instant::now());
    work(socket)?;
    let cost = Cost { cpu: thread_cpu().saturating_sub(cpu), took: begin.elapsed() };
    match other.join() {
        Ok(done) => done.context("the other end of the connection failed")?,
        Err(_) => anyhow::bail!("the other end of the connection failed"),
    }
    Ok(cost)
}

fn receive(file: &mut File, total_bytes: u64) -> anyhow::Result<Cost> {
    let sender = move |mut socket: TcpStream| {
        let chunk = vec![b'x'; CHUNK_BYTES];
        let mut left = total_bytes;
        while left > 0 {
            let now = left.min(CHUNK_BYTES as u64);
            socket.write_all(&chunk[..now as usize])?;
            left -= now;
        }
        Ok(())
    };
    connected(sender, |mut socket| {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut crc = 0;
        loop {
            // Whole pieces: a broker, too, reads on until it has a batch.
            let read = fill(&mut socket, &mut chunk).context("receiving failed")?;
            if read == 0 {
                break;
            }
            crc ^= ottla_model::batch::crc(&[&chunk[..read]]);
            file.write_all(&chunk[..read]).context("the file cannot be written")?;
        }
        std::hint::black_box(crc);
        Ok(())
    })
}

fn fill(socket: &mut TcpStream, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match socket.read(&mut chunk[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn send(file: &File, total_bytes: u64) -> anyhow::Result<Cost> {
    let receiver = |mut socket: TcpStream| {
        let mut chunk = vec![0; CHUNK_BYTES];
        while socket.read(&mut chunk)? > 0 {}
        Ok(())
    };
    connected(receiver, |socket| {
        let mut at = 0;
        while at < total_bytes {
            let now = (total_bytes - at).min(1 << 20) as usize;
            match rustix::fs::sendfile(&socket, file, Some(&mut at), now) {
                Ok(0) => anyhow::bail!("the file is shorter than it was"),
                Ok(_) => {}
                Err(error) => return Err(error).context("sendfile failed"),
            }
        }
        Ok(())
    })
}
