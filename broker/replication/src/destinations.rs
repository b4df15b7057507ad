//! What a lane needs of the partitions that its records go to. The server implements it, for partitions of this
//! process today and over the wire for others; the forwarder and the append path call it. The order in which
//! `forward` is called for one destination is the order in which the destination must see the requests.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use ottla_model::batch::Header;
use ottla_model::ids::TopicId;
use tokio::sync::oneshot;

use crate::lane::destination::LaneState;
use crate::lane::position::Position;

/// A future that owns what it needs.
pub type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The partitions of a cluster, as a lane sees them.
pub trait Destinations: Send + Sync + 'static {
    /// Whether a batch for this partition could be appended now: it exists, has a leader, and its log is online.
    /// Called before anything is written; must not wait, nor lock a partition.
    fn is_writable(&self, topic_id: TopicId, partition: i32) -> bool;

    /// Asks a destination what it holds of the lane beside partition `ingress`. `None` if it cannot be asked now.
    fn held(&self, topic_id: TopicId, partition: i32, ingress: i32) -> Answering<Option<Held>>;

    /// Hands a batch to a destination.
    fn forward(&self, topic_id: TopicId, partition: i32, request: ForwardRequest)
    -> Answering<ForwardAnswer>;
}

/// What a destination says when asked.
#[derive(Debug)]
pub struct Held {
    /// The destination's leader epoch, which each forward must bear.
    pub leader_epoch: i32,
    pub state: LaneState,
    /// Resolves when the held position is under the watermark, if it is not yet.
    pub committed: Option<oneshot::Receiver<Result<(), ottla_model::error::ErrorCode>>>,
}

/// One batch for one destination.
#[derive(Clone, Debug)]
pub struct ForwardRequest {
    /// The destination's leader epoch as it was asked for. Another one is refused: no lane writes into a partition
    /// that began anew.
    pub leader_epoch: i32,
    pub ingress: i32,
    /// What the forwarder knows the destination to hold.
    pub previous: Option<Position>,
    /// Where the batch ends in the lane; its header says the same in the producer fields.
    pub position: Position,
    pub header: Header,
    /// What follows the header.
    pub body: Bytes,
}

/// A destination's answer to a batch.
#[derive(Debug)]
pub enum ForwardAnswer {
    Appended {
        state: LaneState,
        /// Resolves when the batch is under the watermark, if it is not yet.
        committed: Option<oneshot::Receiver<Result<(), ottla_model::error::ErrorCode>>>,
    },
    /// Not appended: held already, or `previous` is not what is held.
    Holds(Held),
    /// Not appended, for a reason that says nothing about the state: it must be asked for anew.
    Refused(String),
}
