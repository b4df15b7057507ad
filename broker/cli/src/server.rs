//! `ottla server`: runs a broker until it is told to end. Stdout gets one line, once a produce and a fetch would
//! succeed; everything else goes to stderr.

use anyhow::Context;
use clap::Args;
use ottla_server::Server as Broker;
use ottla_server::config::Config;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is logged, in the words of tracing's filters: `debug`, or `ottla_server::net=trace,info`.
const LOG_VARIABLE: &str = "OTTLA_LOG";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Server {
    /// A server.properties with Kafka's keys and `ottla.*`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key of it, over the file; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  ottla server                                         127.0.0.1:9092, admin on 127.0.0.1:9644, ./ottla-data
  ottla server --config server.properties
  ottla server --override listeners=PLAINTEXT://0.0.0.0:9092 \\
      --override advertised.listeners=PLAINTEXT://broker-1:9092 --override log.dirs=/var/lib/ottla
  ottla server --override listeners=PLAINTEXT://127.0.0.1:0 --override ottla.admin.listener=127.0.0.1:0
  OTTLA_LOG=debug ottla server";

impl Server {
    pub fn run(self) -> anyhow::Result<()> {
        log_to_stderr()?;
        let config = Config::load(self.config.as_deref(), &self.overrides)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("ottla")
            .enable_all()
            .build()
            .context("the async runtime does not start")?;
        runtime.block_on(serve(config))
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Listened for before the start, which may take long where much has to be recovered.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let broker = tokio::select! {
        started = Broker::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let kafka = broker.kafka_addresses().first().context("listeners names no address: give at least one")?;
    let mut stdout = std::io::stdout().lock();
    // Whoever started the broker may not care for the line.
    let _ = writeln!(stdout, "ready kafka={kafka} admin={}", broker.admin_address());
    let _ = stdout.flush();
    drop(stdout);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("ending on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("ending on SIGINT"),
        () = broker.ended() => {
            broker.shutdown().await;
            anyhow::bail!("the broker ended by itself; its log says why");
        }
    }
    broker.shutdown().await;
    Ok(())
}

fn log_to_stderr() -> anyhow::Result<()> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(filter) => EnvFilter::try_new(&filter).with_context(|| format!("{LOG_VARIABLE}={filter}"))?,
        Err(_) => EnvFilter::new("info,openraft=warn"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
