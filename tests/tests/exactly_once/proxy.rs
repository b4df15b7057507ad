//! What stands between clients and the broker: it delays, cuts and half-closes connections at random. Clients know the
//! broker by the proxy's address only. What it does to its n-th connection follows from the seed and n.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::random::Random;

/// How long the other direction of a half-closed connection goes on.
const HALF_OPEN: Duration = Duration::from_millis(300);
const CHUNK_BYTES_MAX: u64 = 16 << 10;

/// What the proxy did.
#[derive(Debug, Default)]
pub struct Deeds {
    pub connections: AtomicU64,
    pub cuts: AtomicU64,
    pub half_closes: AtomicU64,
    pub delays: AtomicU64,
}

pub struct Proxy {
    pub address: SocketAddr,
    pub deeds: Arc<Deeds>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Cut,
    /// The broker sees the end of the requests, and may still answer.
    CloseTowardsBroker,
    /// The client sees the end of the answers; what it sends still arrives.
    CloseTowardsClient,
}

impl Proxy {
    /// `bytes_max`: no connection carries more, in either direction.
    pub async fn start(seed: u64, bytes_max: u64) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (deeds, target) = (Arc::<Deeds>::default(), Arc::<Mutex<Option<SocketAddr>>>::default());
        let (done, known) = (deeds.clone(), target.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = done.connections.fetch_add(1, Ordering::Relaxed);
                let random = Random::new(seed ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d));
                let Some(target) = *known.lock() else { continue };
                tokio::spawn(carry(client, target, random, bytes_max, done.clone()));
            }
        });
        Ok(Proxy { address, deeds, target, accepting })
    }

    /// Where connections go from now on.
    pub fn set_target(&self, broker: SocketAddr) {
        *self.target.lock() = Some(broker);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, target: SocketAddr, mut random: Random, bytes_max: u64, deeds: Arc<Deeds>) {
    let Ok(broker) = connect(target).await else { return };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let fate = match random.below(10) {
        0..6 => Fate::Cut,
        6..8 => Fate::CloseTowardsBroker,
        _ => Fate::CloseTowardsClient,
    };
    // The answers are short: where they are what ends, it is after fewer bytes.
    let after = random.within(bytes_max / 20, bytes_max);
    let (up_max, down_max) = match fate {
        Fate::CloseTowardsClient => (u64::MAX, after / 20),
        _ => (after, u64::MAX),
    };
    let seeds = (random.bits(), random.bits());
    let mut up = tokio::spawn(copy(from_client, to_broker, up_max, Random::new(seeds.0), deeds.clone()));
    let mut down = tokio::spawn(copy(from_broker, to_client, down_max, Random::new(seeds.1), deeds.clone()));
    let (ended, other) = tokio::select! {
        ended = &mut up => (ended, &mut down),
        ended = &mut down => (ended, &mut up),
    };
    if let Ok(Some((from, mut to))) = ended {
        if fate == Fate::Cut {
            deeds.cuts.fetch_add(1, Ordering::Relaxed);
        } else {
            deeds.half_closes.fetch_add(1, Ordering::Relaxed);
            let _ = to.shutdown().await;
            let _ = tokio::time::timeout(HALF_OPEN, &mut *other).await;
        }
        drop((from, to));
    }
    other.abort();
}

/// A source address of its own: a connection to a port at which nobody listens any more could otherwise connect to
/// itself, and keep the broker from its port.
async fn connect(target: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.2:0".parse()?)?;
    Ok(socket.connect(target).await?)
}

/// Carries up to `bytes_max`, in pieces that respect no frame. Gives the halves back if it stopped there.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    bytes_max: u64,
    mut random: Random,
    deeds: Arc<Deeds>,
) -> Option<(OwnedReadHalf, OwnedWriteHalf)> {
    let mut left = bytes_max;
    let mut chunk = vec![0; CHUNK_BYTES_MAX as usize];
    while left > 0 {
        let size = random.within(1, CHUNK_BYTES_MAX).min(left) as usize;
        let read = from.read(&mut chunk[..size]).await.ok().filter(|read| *read > 0)?;
        if random.chance(3) {
            deeds.delays.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(random.within(1, 40))).await;
        }
        to.write_all(&chunk[..read]).await.ok()?;
        left -= read as u64;
    }
    Some((from, to))
}
