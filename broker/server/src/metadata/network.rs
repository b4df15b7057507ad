//! The quorum's way to other voters. This broker is the only voter of its quorum: a configuration that names
//! others is refused at start (see [`super::Metadata::open`]), so the quorum never asks for a peer. Should it
//! ask, it is told that the peer cannot be reached, which is the truth.

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory};
use ottla_controller::raft::TypeConfig;

pub(super) struct SingleVoter;

pub(super) struct NoPeer {
    target: u64,
}

impl RaftNetworkFactory<TypeConfig> for SingleVoter {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> NoPeer {
        NoPeer { target }
    }
}

type PeerError<E = openraft::error::Infallible> = RPCError<u64, BasicNode, RaftError<u64, E>>;

impl NoPeer {
    #[expect(clippy::result_large_err, reason = "the error's type is openraft's")]
    fn unreachable<T, E: std::error::Error>(&self) -> Result<T, PeerError<E>> {
        let reason = std::io::Error::new(
            std::io::ErrorKind::AddrNotAvailable,
            format!("voter {} has no address: this quorum has one voter", self.target),
        );
        Err(RPCError::Unreachable(Unreachable::new(&reason)))
    }
}

impl RaftNetwork<TypeConfig> for NoPeer {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, PeerError> {
        self.unreachable()
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, PeerError<InstallSnapshotError>> {
        self.unreachable()
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, PeerError> {
        self.unreachable()
    }
}
