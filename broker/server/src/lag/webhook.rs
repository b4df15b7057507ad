//! POSTs events to one address, from a thread of its own: nobody waits for it. Events wait in a short queue; what finds
//! it full is counted and dropped, as is what the other side refuses for long. Events go in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Events that wait while one is under way.
const QUEUE: usize = 1_024;
/// How long one POST may take, all in all.
const POST_MAX: Duration = Duration::from_secs(5);
/// Waits before the tries that follow the first.
const WAITS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// What became of events.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    pub sent: AtomicU64,
    /// Tries that failed and were followed by another.
    pub retried: AtomicU64,
    pub dropped: AtomicU64,
}

pub(crate) struct Webhook {
    queue: SyncSender<String>,
    pub posted: Arc<Posted>,
}

impl Webhook {
    /// Starts the thread, which ends with the last owner of what is returned.
    pub fn start(url: &str) -> Arc<Webhook> {
        let (queue, events) = sync_channel(QUEUE);
        let posted = Arc::new(Posted::default());
        let (counts, address) = (posted.clone(), url.to_owned());
        let thread = std::thread::Builder::new().name("ottla-webhook".to_owned());
        if let Err(error) = thread.spawn(move || post_all(&address, &events, &counts)) {
            tracing::error!(%error, "no thread for ottla.monitor.webhook: nothing will be sent");
        }
        Arc::new(Webhook { queue, posted })
    }

    /// Sends an event, as JSON, some time later. Never waits.
    pub fn send(&self, event: String) {
        match self.queue.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.posted.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn post_all(url: &str, events: &Receiver<String>, posted: &Posted) {
    let config = ureq::Agent::config_builder().timeout_global(Some(POST_MAX)).max_redirects(0).build();
    let agent = ureq::Agent::from(config);
    while let Ok(event) = events.recv() {
        let mut waits = WAITS.iter();
        loop {
            match agent.post(url).header("content-type", "application/json").send(&event) {
                Ok(_) => {
                    posted.sent.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) => match waits.next().filter(|_| may_succeed_later(&error)) {
                    Some(wait) => {
                        posted.retried.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(*wait);
                    }
                    None => {
                        posted.dropped.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%error, "ottla.monitor.webhook did not take an event, which is dropped");
                        break;
                    }
                },
            }
        }
    }
}

/// What the other side says of the event itself will not change.
fn may_succeed_later(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::StatusCode(status) => matches!(status, 408 | 425 | 429 | 500..),
        _ => true,
    }
}
