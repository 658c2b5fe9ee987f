//! Sessions with those whose credentials are in the files of [`keys`](crate::keys).

use crate::keys;
use crate::resources::Asker;
use crate::shell::{Explain, PairSecureEndpoint, endpoint};
use capmesh_coap::endpoint;
use capmesh_session::{Config, Entry, Peer, Roster, SecureEndpoint, Sessions, Workflow};
use capmesh_wire::{Instant, NodeId, Role};
use rand_core::OsRng;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Everybody who is known.
pub struct Members(Vec<Entry>);

impl Roster for Members {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.0.find(kid)
    }
}

/// The sessions of one side of the pair: 64 peers, 16 handshakes at once.
pub type PairSessions = Sessions<Members, OsRng, 64, 16>;

/// The endpoint of one side of the pair.
pub type Secured = PairSecureEndpoint<PairSessions>;

impl Asker for Peer {
    fn is_authenticated(&self) -> bool {
        self.member().is_some()
    }

    fn name(&self) -> String {
        match self {
            Self::Anonymous(address) => address.name(),
            Self::Member(member) => format!("node {}", member.id),
        }
    }
}

impl Explain for PairSessions {
    fn explain(&self, peer: Peer) -> Option<String> {
        Some(self.last_failure(peer.member()?.id)?.to_string())
    }
}

/// The endpoint of the party called `own`, which knows the one called `other`, and the other's id.
///
/// # Errors
/// If the files in `directory` are not as they should be.
pub fn secured(
    directory: &Path,
    own: &str,
    other: &str,
    workflow: Workflow,
    config: endpoint::Config,
) -> io::Result<(Box<Secured>, NodeId)> {
    let identity = keys::identity(directory, own)?;
    let credential = keys::credential(directory, other)?;
    let id = NodeId::of_key(credential.public_key());
    let known = Members(vec![Entry { id, credential, role: Role::Operator, expires: u64::MAX }]);
    let session = Config { workflow, ..Config::for_host() };
    let sessions = Sessions::new(Instant::ZERO, session, identity, known, OsRng);
    Ok((Box::new(SecureEndpoint::new(*endpoint(config, sessions))), id))
}

/// The peer with this id, which is at `address`.
///
/// # Errors
/// If it is not known.
pub fn introduce(
    endpoint: &mut Secured,
    now: Instant,
    id: NodeId,
    address: SocketAddr,
) -> io::Result<Peer> {
    endpoint.sessions_mut().introduce(now, id, address).map_err(io::Error::other)
}
