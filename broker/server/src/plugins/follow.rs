//! Keeps what serves in line with cluster metadata and with the state of the partitions: at the start, at each change
//! of metadata, and once a second for loads. One task, which the server starts before it says that it is ready.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Plugins;
use super::attachment::{Partitioning, Slot};
use super::cluster::TopicView;
use super::retaining::Retaining;
use super::serve::Serve;
use super::settings;

/// How often loads are averaged and told to plugins.
const LOADS_EVERY: Duration = Duration::from_secs(1);
/// How often what could not be attached is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(30);

impl Plugins {
    /// Attaches what cluster metadata says. Returns once each topic's plugin serves or is known to fail; produce
    /// requests must not be taken before.
    pub async fn restore(self: &Arc<Self>) {
        self.take_limits();
        let mut work = JoinSet::new();
        self.reconcile_all(&mut work, false).await;
        work.join_all().await;
        self.record_unrecorded::<Partitioning>().await;
        self.record_unrecorded::<Retaining>().await;
        self.sweep().await;
    }

    /// Follows until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.cluster.changes();
        let mut seconds = interval(LOADS_EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retried = Instant::now();
        let mut work = JoinSet::new();
        // Whatever changed before the subscription.
        self.take_limits();
        self.reconcile_all(&mut work, false).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.take_limits();
                    self.reconcile_all(&mut work, false).await;
                }
                _ = seconds.tick() => {
                    self.tick_loads();
                    if retried.elapsed() >= RETRY_EVERY {
                        retried = Instant::now();
                        self.reconcile_all(&mut work, true).await;
                    }
                }
                Some(_) = work.join_next() => {}
            }
        }
    }

    /// Reconciles what differs from its configs, each topic in a task of its own: one may have to compile. With
    /// `retry`, also what is known to fail.
    async fn reconcile_all(self: &Arc<Self>, work: &mut JoinSet<()>, retry: bool) {
        let topics = self.cluster.topics();
        self.reconcile_role::<Partitioning>(&topics, work, retry).await;
        self.reconcile_role::<Retaining>(&topics, work, retry).await;
    }

    async fn reconcile_role<R: Serve>(
        self: &Arc<Self>,
        topics: &[TopicView],
        work: &mut JoinSet<()>,
        retry: bool,
    ) {
        for topic in topics {
            let settings = settings::read::<R>(&topic.configs);
            let slot = match (&settings, R::slots(self).existing(&topic.name)) {
                // Nothing is asked for, and nothing was ever there.
                (Ok(None), None) => continue,
                (_, slot) => slot.unwrap_or_else(|| R::slots(self).of(&topic.name)),
            };
            let wanted = settings.as_ref().ok().and_then(Option::as_ref);
            if settings.is_ok() && self.serves(slot.attachment().as_deref(), wanted) {
                self.observe(&slot, topic.partitions);
            } else if retry || !slot.failed_with(wanted, self.resolved::<R>(wanted).as_ref()) {
                let (plugins, name) = (Arc::clone(self), topic.name.clone());
                work.spawn(async move { plugins.reconcile::<R>(&name).await });
            }
        }
        let names: HashSet<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        for slot in R::slots(self).attached() {
            if !names.contains(&*slot.topic) {
                self.detach_unconfigured(&slot).await;
            }
        }
        R::slots(self).prune();
    }

    /// Takes the plugin from a topic that is gone or has no plugin in its configs.
    async fn detach_unconfigured<R: Serve>(&self, slot: &Slot<R>) {
        let _changing = slot.changing.lock().await;
        let configured = self.cluster.topic(&slot.topic).is_some_and(|topic| !topic.configs.is_empty());
        if !configured {
            slot.put(None);
            slot.set_failure(None);
        }
    }

    /// Puts `ottla.plugin.*` in force as the configs say.
    fn take_limits(&self) {
        if let Some(limits) = self.cluster.limits()
            && limits != *self.limits()
        {
            self.set_limits(limits);
        }
    }

    fn tick_loads(&self) {
        for slot in self.slots.attached() {
            slot.loads.tick();
            self.observe(&slot, 0);
        }
    }
}
