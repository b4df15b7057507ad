//! Accepts connections on one address and starts a task for each. The server opens one per configured listener; all of
//! them share a `Gate`, which counts connections. A lack of file descriptors costs new connections only.

use super::connection::{Connection, Identity};
use super::gate::{Admission, Gate};
use super::{ACCEPT_PAUSE, Budget, Limits};
use crate::dispatch::{ConnectionEvent, Service};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// A bound address that is not yet accepted on.
pub struct Listener {
    name: Arc<str>,
    address: SocketAddr,
    socket: TcpListener,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one. Must be called within a tokio runtime.
    pub fn bind(name: &str, address: SocketAddr, limits: &Limits) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        if let Some(bytes) = limits.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(limits.backlog).unwrap_or(i32::MAX))?;
        let socket = TcpListener::from_std(socket.into())?;
        Ok(Self { name: name.into(), address: socket.local_addr()?, socket })
    }

    /// The address with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Accepts until `stop`. Connections run as tasks of `tasks`, and end with `stop` too.
    pub async fn run<S: Service>(
        self,
        service: Arc<S>,
        gate: Arc<Gate>,
        budget: Arc<Budget>,
        limits: Limits,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        // One line for a shortage, however often accepting is tried meanwhile.
        let mut is_short = false;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.accept(&gate) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    if std::mem::take(&mut is_short) {
                        info!(listener = %self.name, "new connections are accepted again");
                    }
                    let Some(admission) = gate.admit(peer.ip(), place) else {
                        service.connection(ConnectionEvent::Refused);
                        info!(%peer, listener = %self.name, "refused: max.connections.per.ip is reached");
                        continue;
                    };
                    if let Err(error) = prepare(&stream, &limits) {
                        debug!(%peer, %error, "the socket could not be set up");
                        continue;
                    }
                    let identity = Identity { id: admission.id, peer, listener: Arc::clone(&self.name) };
                    let connection = Connection::new(
                        stream,
                        Arc::clone(&service),
                        identity,
                        &limits,
                        Arc::clone(&budget),
                        stop.clone(),
                    );
                    tasks.spawn(serve(connection, Arc::clone(&service), admission));
                }
                Err(error) if is_of_one_connection(&error) => {
                    debug!(%error, "a connection ended before it began")
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_short, true) {
                        warn!(listener = %self.name, %error, "no new connections until the system has room again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self, gate: &Gate) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = gate.place().await?;
        let (stream, peer) = self.socket.accept().await?;
        Ok((stream, peer, place))
    }
}

async fn serve<S: Service>(connection: Connection<S>, service: Arc<S>, admission: Admission) {
    service.connection(ConnectionEvent::Opened);
    let (id, peer) = (admission.id, admission.ip);
    let end = connection.run().await;
    service.connection(ConnectionEvent::Closed(end.closing()));
    if end.is_worth_a_warning() {
        warn!(connection = id, %peer, reason = %end, "closed a connection");
    } else {
        debug!(connection = id, %peer, reason = %end, "closed a connection");
    }
}

fn prepare(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match limits.send_buffer_bytes {
        Some(bytes) => SockRef::from(stream).set_send_buffer_size(bytes),
        None => Ok(()),
    }
}

/// Errors of `accept` that concern the connection, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

/// Raises the process's soft limit of open files to its hard one, since each partition and connection takes some.
/// Returns the limit in force; none when there is no limit.
pub fn raise_open_files_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, "the limit of open files stays as it is");
            limit.current
        }
    }
}
