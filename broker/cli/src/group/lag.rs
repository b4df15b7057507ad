//! `ottla group lag`: how far a group is behind, once or again and again.

use super::report::{Source, rows, summary};
use super::watch;
use crate::connect::Connect;
use crate::output::table;
use clap::Args;

/// Columns of a sparkline where it is printed once.
const SPARK_COLUMNS: usize = 12;

#[derive(Args)]
pub struct Lag {
    group: String,
    /// Look again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,
}

impl Lag {
    pub async fn run(self, connect: &Connect) -> anyhow::Result<()> {
        let mut source = Source::find(connect, &self.group).await?;
        if self.watch {
            return watch::run(connect, &mut source, std::time::Duration::from_secs(self.interval)).await;
        }
        let report = source.look().await?;
        connect
            .output
            .print(&report, || format!("{}\n{}", summary(&report), table(&rows(&report, SPARK_COLUMNS))))
    }
}
