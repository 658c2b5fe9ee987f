//! What a node is to do: the part of the site's plan that concerns it, signed by a gateway.
//!
//! ```text
//! plan = COSE_Sign1 over {0: format, 1: site, 2: revision, 3: node, ? 4: routes, ? 5: assignments}
//! ```
//!
//! A node keeps its plan in flash and acts on it after a power cut with no gateway in sight. It takes
//! one with a higher revision from whoever passes it on, if the signer is a gateway on its roster.

use crate::cbor::macros::{codes, record, tuple};
use crate::cbor::{Decode, DecodeError, Encode, List, Reader, Writer};
use crate::cose::Sign1;
use crate::digest::Digest;
use crate::id::{Epoch, InstanceId, KeyId, NodeId, Revision};
use crate::schema::Payload;
use crate::text::Name;
use crate::{format, limits};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

record! {
    /// The rows for one node.
    pub struct Plan<'a> check check_plan {
        /// [`format::PLAN`].
        0 => format: u8,
        /// The site's name.
        1 => site: Name<'a>,
        /// Which of two plans is newer. It counts for the site: nodes whose rows did not change may
        /// keep theirs.
        2 => revision: Revision,
        /// The node that it is for.
        3 => node: NodeId,
        /// How to reach the nodes that the rows name.
        4 => routes: List<'a, Route<'a>, { limits::ROUTES }>,
        /// What it runs.
        5 => assignments: List<'a, Assignment<'a>, { limits::ASSIGNMENTS }>,
    }
}

fn check_plan(plan: &Plan<'_>) -> Result<(), DecodeError> {
    if plan.format == format::PLAN { Ok(()) } else { Err(DecodeError::Version) }
}

impl<'a> Plan<'a> {
    /// The row of an instance.
    #[must_use]
    pub fn assignment(&self, instance: InstanceId) -> Option<Assignment<'a>> {
        self.assignments.iter().find(|row| row.instance == instance)
    }

    /// How to reach a node.
    #[must_use]
    pub fn route(&self, node: NodeId) -> Option<Route<'a>> {
        self.routes.iter().find(|route| route.node == node)
    }
}

tuple! {
    /// How to reach a node: hints, which EDHOC proves or disproves.
    pub struct Route<'a> {
        /// The node.
        node: NodeId,
        /// Its addresses, best first. Empty if discovery is to find it.
        addresses: List<'a, Address, { limits::ADDRESSES }>,
        /// The node that relays to it, if it cannot be reached directly.
        relay: Option<NodeId>,
    }
}

/// An address and UDP port. An IPv6 scope belongs to one machine's interfaces and is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub SocketAddr);

impl<'a> Decode<'a> for Address {
    fn read(reader: &mut Reader<'a>) -> Self {
        let extra = reader.tuple(2);
        let bytes = reader.bytes();
        let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            IpAddr::V4(Ipv4Addr::from(v4))
        } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
            IpAddr::V6(Ipv6Addr::from(v6))
        } else {
            reader.fail(DecodeError::Value);
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let port = u16::read(reader);
        reader.skip_items(extra);
        Self(SocketAddr::new(ip, port))
    }
}

impl Encode for Address {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.array(2);
        match self.0.ip() {
            IpAddr::V4(v4) => writer.bytes(&v4.octets()),
            IpAddr::V6(v6) => writer.bytes(&v6.octets()),
        };
        self.0.port().write(writer);
    }
}

record! {
    /// An instance that a node is to run.
    pub struct Assignment<'a> {
        /// The instance.
        0 => instance: InstanceId,
        /// The epoch of this placement.
        1 => epoch: Epoch,
        /// The capsule: the digest of its manifest.
        2 => capsule: Digest,
        /// The pipeline that it belongs to.
        3 => pipeline: Name<'a>,
        /// What the pipeline calls it. Its topics are `pipeline/name/output`.
        4 => name: Name<'a>,
        /// Which of the replicas with that name, from 0.
        5 => replica: u8,
        /// How long it may run without hearing of the gateway, in milliseconds; absent for ever.
        6 => lease_ms: Option<u32>,
        /// What becomes of it when its node is lost.
        7 => failover: Failover,
        /// How often a checkpoint is taken, in milliseconds; absent if never.
        8 => checkpoint_ms: Option<u32>,
        /// Whether a manifest with a lower sequence number than the installed one may be taken.
        9 => rollback: bool,
        /// Configuration values, in the order of the manifest's fields.
        10 => config: Option<Payload<'a>>,
        /// The wires that end at it.
        11 => inbound: List<'a, Inbound, { limits::WIRES }>,
        /// The wires that begin at it.
        12 => outbound: List<'a, Outbound, { limits::WIRES }>,
        /// The instances behind the names that its capsule asks.
        13 => peers: List<'a, PeerBinding, { limits::PEERS }>,
    }
}

tuple! {
    /// A wire, seen from its end: what may come from whom.
    pub struct Inbound {
        /// The number of the input that it ends at.
        input: u8,
        /// The node that hosts the producer.
        node: NodeId,
        /// The producer.
        instance: InstanceId,
        /// The number of the producer's output.
        output: u8,
        /// What is promised.
        delivery: Delivery,
    }
}

tuple! {
    /// A wire, seen from its beginning: what goes to whom.
    pub struct Outbound {
        /// The number of the output that it begins at.
        output: u8,
        /// The node that hosts the consumer; a gateway, where a wire leaves the mesh.
        node: NodeId,
        /// The consumer.
        instance: InstanceId,
        /// The number of the consumer's input.
        input: u8,
        /// What is promised.
        delivery: Delivery,
        /// What happens when the outbox is full.
        overflow: Overflowing,
    }
}

tuple! {
    /// The instance behind a name that a capsule asks.
    pub struct PeerBinding {
        /// The number of the peer in the manifest.
        peer: u8,
        /// The node that hosts it.
        node: NodeId,
        /// The instance.
        instance: InstanceId,
    }
}

codes! {
    /// What a wire promises. One that this version does not know promises nothing: the row that has
    /// it is refused.
    pub enum Delivery {
        /// The newest wins; what is lost is counted.
        Latest = 0, "latest";
        /// Nothing lost, nothing twice, order kept.
        Every = 1, "every";
    }
}

codes! {
    /// What a full outbox does with a message for an `every` wire.
    pub enum Overflowing {
        /// The oldest message makes room.
        DropOldest = 0, "drop-oldest";
        /// The new message is dropped.
        DropNewest = 1, "drop-newest";
        /// The capsule gets no more events until there is room.
        PauseProducer = 2, "pause-producer";
    }
}

codes! {
    /// What becomes of an instance whose node is lost.
    pub enum Failover {
        /// Nothing: it waits for its node.
        None = 0, "none";
        /// It starts afresh elsewhere.
        Restart = 1, "restart";
        /// It goes on elsewhere from its last checkpoint.
        Checkpoint = 2, "checkpoint";
    }
}

/// A plan that was parsed and not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnverifiedPlan<'a> {
    sign1: Sign1<'a>,
    plan: Plan<'a>,
}

impl<'a> UnverifiedPlan<'a> {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If they are not a plan.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let sign1: Sign1<'a> = crate::cbor::decode(bytes)?;
        let plan = crate::cbor::decode(sign1.payload().ok_or(DecodeError::Missing)?)?;
        Ok(Self { sign1, plan })
    }

    /// Which gateway claims to have signed it.
    #[must_use]
    pub const fn gateway(&self) -> KeyId {
        self.sign1.key()
    }

    /// What it says, to see whether verifying it is worth the while.
    #[must_use]
    pub const fn claims(&self) -> &Plan<'a> {
        &self.plan
    }

    /// Verifies that the gateway with this key has signed it. The caller has found the key on the
    /// roster, with the role of a gateway.
    ///
    /// # Errors
    /// [`BadSignature`](crate::cose::BadSignature).
    #[cfg(feature = "es256")]
    pub fn verify(self, gateway: &crate::PublicKey) -> Result<Plan<'a>, crate::cose::BadSignature> {
        self.sign1.verify(gateway, &[])?;
        Ok(self.plan)
    }
}

impl<'a> Plan<'a> {
    /// Takes bytes that were verified before and have since been where nobody else writes, such as
    /// the node's own flash.
    ///
    /// # Errors
    /// If they are not a plan.
    pub fn from_trusted(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(UnverifiedPlan::parse(bytes)?.plan)
    }

    /// Writes the signed plan to the start of `buf` and returns its length. `scratch` holds the plan
    /// while it is signed.
    ///
    /// # Errors
    /// If it does not fit one of the two.
    #[cfg(feature = "es256")]
    pub fn sign(
        &self,
        gateway: &crate::cose::SigningKey,
        scratch: &mut [u8],
        buf: &mut [u8],
    ) -> Result<usize, crate::Overflow> {
        let len = crate::cbor::encode(self, scratch)?;
        let mut writer = Writer::new(buf);
        crate::cose::sign(gateway, scratch.get(..len).unwrap_or_default(), &mut writer);
        writer.finish()
    }
}
