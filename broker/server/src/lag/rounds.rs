//! The loops of lag: a slow round for what makes no event, a quick one when something happened, and one for each other
//! cluster. Everything that may wait for the disk runs where that is fine.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Lag;
use super::elsewhere;

/// Ages that a round looks up.
const AGES_MAX: usize = 2_000;
/// Events that follow each other closer share one quick round.
const QUICK: Duration = Duration::from_millis(100);

impl Lag {
    /// Runs until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let others: Vec<_> = self
            .config
            .clusters
            .iter()
            .filter_map(|(name, brokers)| {
                let cluster = self.cluster(name)?.clone();
                let task = elsewhere::watch(cluster, brokers.join(","), self.config.interval, stop.clone());
                Some(tokio::spawn(task))
            })
            .collect();
        let mut rounds = tokio::time::interval(self.config.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_round = tokio::select! {
                _ = rounds.tick() => true,
                () = self.wake.notified() => false,
                () = stop.cancelled() => break,
            };
            let me = Arc::clone(&self);
            let work = tokio::task::spawn_blocking(move || me.work(is_round));
            if let Err(error) = work.await {
                tracing::error!(%error, "a round of lag failed and will be tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(QUICK) => {}
                () = stop.cancelled() => break,
            }
        }
        for other in others {
            // A loop that panicked has said so already.
            let _ = other.await;
        }
    }

    fn work(&self, is_round: bool) {
        if is_round {
            self.forget_unloaded();
            self.own.round();
            self.own.look_up_ages(AGES_MAX);
            self.own.note_reached(true);
        }
        for cluster in self.clusters.values() {
            cluster.judge_touched();
            self.tell(cluster);
        }
    }
}
