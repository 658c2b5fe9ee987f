//! Who is at the other end, and what they may do.

use crate::edhoc::Credential;
use capmesh_coap::message::Code;
use capmesh_wire::{NodeId, Role};
use core::net::SocketAddr;

/// Who is at the other end of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Whoever is at this address: nothing was proved, nothing is protected.
    Anonymous(SocketAddr),
    /// Somebody of the roster's, who has proved it with EDHOC.
    Member(Member),
}

/// Somebody on the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub id: NodeId,
    /// What it may do.
    pub role: Role,
}

impl Peer {
    /// Whom the roster knows by that name, if it is somebody of the roster's.
    #[must_use]
    pub const fn member(self) -> Option<Member> {
        match self {
            Self::Anonymous(_) => None,
            Self::Member(member) => Some(member),
        }
    }

    /// Lets those pass who have one of `roles`.
    ///
    /// # Errors
    /// The code of the answer to everybody else: 4.01 (Unauthorized) if it would help to prove who
    /// one is, 4.03 (Forbidden) if not.
    pub fn require(self, roles: Roles) -> Result<Member, Code> {
        match self {
            Self::Anonymous(_) => Err(Code::UNAUTHORIZED),
            Self::Member(member) if roles.contains(member.role) => Ok(member),
            Self::Member(_) => Err(Code::FORBIDDEN),
        }
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Everybody on the roster who can have a session.
    pub const ANY: Self =
        Self::only(Role::Node).or(Role::Gateway).or(Role::Registry).or(Role::Operator);

    /// This role.
    #[must_use]
    pub const fn only(role: Role) -> Self {
        Self(bit(role))
    }

    /// This role too.
    #[must_use]
    pub const fn or(self, role: Role) -> Self {
        Self(self.0 | bit(role))
    }

    /// Whether `role` is in the set.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & bit(role) != 0
    }
}

const fn bit(role: Role) -> u8 {
    match role {
        Role::Node => 1,
        Role::Gateway => 2,
        Role::Registry => 4,
        Role::Operator => 8,
        Role::Publisher => 16,
        // May do nothing.
        Role::Unknown(_) => 0,
    }
}

/// Where credentials are looked up. It may be as large as flash is: it is asked once or twice for a
/// handshake, and once for each session when it has changed
/// ([`Sessions::revalidate`](crate::Sessions::revalidate)).
pub trait Roster {
    /// Who is known by this `kid`.
    fn find(&self, kid: &[u8]) -> Option<Entry>;
}

/// What the roster says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name by which the mesh knows them.
    pub id: NodeId,
    /// What they authenticate with.
    pub credential: Credential,
    /// What they may do.
    pub role: Role,
    /// Until when, in seconds since 1970. Takes effect once the time is known
    /// ([`Sessions::set_unix_time`](crate::Sessions::set_unix_time)).
    pub expires: u64,
}

impl<R: Roster + ?Sized> Roster for &R {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        (**self).find(kid)
    }
}

/// A roster in RAM, of a few.
impl Roster for [Entry] {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        self.iter()
            .find(|entry| entry.credential.kid().is_some_and(|own| own.as_bytes() == kid))
            .cloned()
    }
}

/// The site's signed roster.
impl Roster for capmesh_wire::Roster<'_> {
    fn find(&self, kid: &[u8]) -> Option<Entry> {
        let id = NodeId::from_bytes(kid.try_into().ok()?);
        let entry = capmesh_wire::Roster::find(self, id)?;
        let credential = Credential::parse(entry.credential.as_bytes()).ok()?;
        Some(Entry { id, credential, role: entry.role, expires: entry.expires })
    }
}
