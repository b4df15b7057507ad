//! A broker's life: binds its addresses, opens its folders, leads its quorum, opens its partitions, attaches its
//! plugins, and only then accepts; and the same backwards. The command line stands before it, everything else behind.
//! Invariant: `ready` is said once a produce and a fetch would succeed, and a clean stop is noted only after every log
//! was closed.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ottla_controller::record::Endpoint;
use ottla_model::clock::{Clock, SystemClock};
use ottla_plugin_host::Compiler;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admin;
use crate::broker::Broker;
use crate::cleaner::{Budget, Cleaner, register_cleaner};
use crate::cluster::LocalCluster;
use crate::config::{self, Config, HostPort};
use crate::fetch::session::Sessions;
use crate::forwarding::LocalDestinations;
use crate::groups::Groups;
use crate::lag::Lag;
use crate::metadata::{Metadata, Options};
use crate::metrics::{Metrics, register_folders, register_partitions};
use crate::net::{Front, Gate, Serving, raise_open_files_limit};
use crate::partitions::{Folders, Follower, METADATA_FOLDER, Moves, Partitions, Upkeep, follow_failures};
use crate::plugins::{Plugins, PluginsConfig};
use crate::quotas;
use crate::retention::Passes;

/// How long an ending broker waits for its connections.
const CONNECTIONS_END_MAX: Duration = Duration::from_millis(500);
/// How long it then waits for its own loops.
const LOOPS_END_MAX: Duration = Duration::from_millis(200);

/// A running broker.
pub struct Server {
    broker: Arc<Broker>,
    kafka: Vec<SocketAddr>,
    admin: SocketAddr,
    stop: CancellationToken,
    serving: Serving,
    loops: Vec<JoinHandle<()>>,
    upkeep: Upkeep,
}

impl Server {
    /// Starts a broker. Returns once it serves.
    ///
    /// # Errors
    /// An address that cannot be bound, a folder that cannot be used, metadata that cannot be read: each says which.
    pub async fn start(config: Config) -> anyhow::Result<Server> {
        let files_max = raise_open_files_limit();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = CancellationToken::new();
        let front = bind(&config)?;
        let admin_bound = bind_admin(&config.admin_listener).await?;
        let config = Arc::new(config);

        let folders = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || Folders::open(&config.log_dirs, config.node_id)).await??
        };
        let folders = Arc::new(folders);
        let metadata = Metadata::open(Options {
            log_dir: folders.first().to_path_buf(),
            node_id: config.node_id,
            quorum_voters: None,
            endpoints: endpoints(&config, &front),
            rack: config.rack.clone(),
            clock: clock.clone(),
        })
        .await?;

        let metrics = Arc::new(Metrics::new());
        let partitions = Partitions::new(metadata.clone());
        register_partitions(&metrics, &partitions);
        register_folders(&metrics, &folders);
        // What compaction and retention's passes read and write comes out of one budget.
        let budget = Arc::new(Budget::default());
        let passes = Passes::new(&metrics, budget.clone());
        let cluster = LocalCluster::new(metadata.clone(), partitions.clone(), clock.clone(), passes.clone());
        let plugins_config = PluginsConfig {
            data_dir: folders.first().to_path_buf(),
            compiler: compiler(),
            limits: config.plugin_limits(&metadata.image()),
        };
        let plugins = Plugins::new(plugins_config, cluster.clone(), clock.clone());
        plugins.register_metrics(&metrics);
        let groups = Groups::new(metadata.clone(), partitions.clone(), config.clone(), clock.clone());
        groups.register_metrics(&metrics);
        let lag = Lag::new(&config, &partitions, &clock);
        lag.register_metrics(&metrics);
        lag.follow(&groups);
        let broker = Arc::new(Broker {
            cluster_id: folders.cluster_id().to_owned(),
            metadata: metadata.clone(),
            partitions: partitions.clone(),
            moves: Moves::new(folders.clone(), partitions.clone(), config.clone(), stop.clone()),
            plugins: plugins.clone(),
            groups: groups.clone(),
            metrics: metrics.clone(),
            lag: lag.clone(),
            sessions: Sessions::new(config.fetch_sessions_max, clock.now_ms() as i32),
            clock: clock.clone(),
            config: config.clone(),
            admin_addr: admin_bound.addr(),
            stop: stop.clone(),
        });
        cluster.set(&broker);

        let follower = open_partitions(&broker, &folders).await?;
        if let Some(reason) = folders.failure(METADATA_FOLDER) {
            let path = folders.first().display();
            anyhow::bail!("log.dirs: {path}, which holds the cluster's metadata, failed: {reason}");
        }
        plugins.restore().await;
        groups.start().await;

        let cleaner = Cleaner::new(broker.clone(), folders.clone(), budget);
        register_cleaner(&metrics, cleaner.progress(), &clock);
        let upkeep = Upkeep {
            partitions: partitions.clone(),
            folders: folders.clone(),
            clock,
            retention_interval: config.retention_check_interval,
            flush_interval: config.flush_check_interval,
            checkpoint_interval: config
                .recovery_checkpoint_interval
                .min(config.start_offset_checkpoint_interval),
        };
        let kafka = front.addresses();
        let admin = admin_bound.addr();
        let connections_max = config.connections_max.min(Gate::places_within(files_max));
        let gate = Gate::new(connections_max, config.connection_quotas(&broker.metadata.image()));
        let loops = vec![
            tokio::spawn(follower.run(stop.clone())),
            tokio::spawn(upkeep.clone().run(stop.clone())),
            tokio::spawn(cleaner.run()),
            tokio::spawn(groups.run(stop.clone())),
            tokio::spawn(plugins.clone().follow(stop.clone())),
            tokio::spawn(passes.run(broker.clone(), stop.clone())),
            tokio::spawn(lag.run(stop.clone())),
            tokio::spawn(quotas::follow(broker.clone(), gate.clone(), stop.clone())),
            tokio::spawn(serve_admin(admin_bound, &broker, &kafka, stop.clone())),
            tokio::spawn(follow_failures(partitions, folders.clone(), stop.clone())),
            tokio::spawn(watch_quorum(metadata, folders, stop.clone())),
        ];
        let serving = front.serve(Arc::new(broker.clone()), gate, config.queued_request_bytes_max);
        info!(?kafka, %admin, cluster_id = %broker.cluster_id, "serving");
        Ok(Server { broker, kafka, admin, stop, serving, loops, upkeep })
    }

    /// Where clients connect, one address a listener; the first is the one that `ready` names.
    pub fn kafka_addresses(&self) -> &[SocketAddr] {
        &self.kafka
    }

    /// Where the HTTP admin listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// What the requests share.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Returns when the broker ends by itself, because it can no longer write its metadata.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Ends: no new requests, answers that are ready go out, logs are closed.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if !self.serving.stop(CONNECTIONS_END_MAX).await {
            tracing::warn!(
                "connections were still busy after {CONNECTIONS_END_MAX:?}; the broker ends without them"
            );
        }
        let drained = tokio::time::timeout(LOOPS_END_MAX, async {
            for task in self.loops {
                // A loop that panicked has said so already.
                let _ = task.await;
            }
        });
        if drained.await.is_err() {
            tracing::warn!("the broker's own work did not end in time and was cut");
        }
        let upkeep = self.upkeep;
        if let Err(error) = tokio::task::spawn_blocking(move || upkeep.close()).await {
            tracing::error!(%error, "the logs were not closed cleanly");
        }
        self.broker.metadata.close().await;
    }
}

fn bind(config: &Config) -> anyhow::Result<Front> {
    let mut addresses = Vec::new();
    for listener in &config.listeners {
        addresses.push((listener.name.as_str(), resolve("listeners", &listener.address)?));
    }
    Front::bind(&addresses, config.limits.clone()).map_err(|(address, error)| {
        anyhow::Error::new(error).context(format!(
            "cannot listen on {address}: another process may hold the port; set listeners to a free one"
        ))
    })
}

/// The address that a host name stands for; an empty host is every IPv4 address of the machine.
fn resolve(key: &str, address: &HostPort) -> anyhow::Result<SocketAddr> {
    if address.host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, address.port).into());
    }
    let mut found = (address.host.as_str(), address.port)
        .to_socket_addrs()
        .with_context(|| format!("the host of {address} is not known: correct it in {key}"))?;
    found.next().with_context(|| format!("the host of {address} has no address: correct it in {key}"))
}

async fn bind_admin(address: &HostPort) -> anyhow::Result<admin::Bound> {
    let resolved = resolve("ottla.admin.listener", address)?;
    admin::Bound::bind(resolved).await.with_context(|| {
        format!("cannot listen on {resolved}: another process may hold the port; set ottla.admin.listener to a free one")
    })
}

/// What clients are told to connect to; a port that was picked stands in the place of port 0.
fn endpoints(config: &Config, front: &Front) -> Vec<Endpoint> {
    let advertised = config.advertised_listeners.iter().zip(front.addresses());
    let endpoint = |(endpoint, bound): (&config::Endpoint, SocketAddr)| Endpoint {
        listener: endpoint.name.clone(),
        host: endpoint.address.host.clone(),
        port: if endpoint.address.port == 0 { bound.port() } else { endpoint.address.port },
    };
    advertised.map(endpoint).collect()
}

/// Components are compiled by this program in a process of its own, as compiling cannot be bounded within one.
fn compiler() -> Compiler {
    Compiler::Child { program: "/proc/self/exe".into(), args: vec!["compile-plugin".into()] }
}

/// Opens every partition that the metadata has.
async fn open_partitions(broker: &Arc<Broker>, folders: &Arc<Folders>) -> anyhow::Result<Follower> {
    let surroundings = LocalDestinations::new(broker.clock.clone(), folders.clone());
    surroundings.set(&broker.partitions);
    let mut follower = Follower::new(broker.clone(), folders.clone(), surroundings);
    tokio::task::spawn_blocking(move || follower.start().map(|()| follower)).await?.context("log.dirs")
}

fn serve_admin(
    bound: admin::Bound,
    broker: &Arc<Broker>,
    kafka: &[SocketAddr],
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let admin = admin::Admin {
        plugins: broker.plugins.clone(),
        metrics: broker.metrics.clone(),
        lag: broker.lag.clone(),
        verifier: admin::Verifier::new(Arc::downgrade(&broker.partitions)),
        identity: admin::Identity {
            node_id: broker.config.node_id,
            cluster_id: broker.cluster_id.clone(),
            kafka_listeners: kafka.iter().map(ToString::to_string).collect(),
            admin_listener: broker.admin_addr.to_string(),
        },
    };
    async move {
        if let Err(error) = bound.serve(admin, stop).await {
            tracing::error!(%error, "the HTTP admin ended");
        }
    }
}

/// A broker that cannot write its metadata must not go on as if it could.
async fn watch_quorum(metadata: Arc<Metadata>, folders: Arc<Folders>, stop: CancellationToken) {
    tokio::select! {
        reason = metadata.failed() => {
            tracing::error!(reason, "the folder of the cluster's metadata failed: the broker ends");
            folders.fail(METADATA_FOLDER, reason);
            stop.cancel();
        }
        () = stop.cancelled() => {}
    }
}
