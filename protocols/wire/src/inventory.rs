//! What a node has, and how it is.

use crate::cbor::List;
use crate::cbor::macros::{codes, record, tuple};
use crate::clock::Clock;
use crate::digest::{Digest, DigestPrefix};
use crate::id::{Epoch, InstanceId, KeyId, NodeId, Revision};
use crate::limits;
use crate::manifest::Actuator;
use crate::plan::Address;
use crate::problem::ErrorCode;
use crate::schema::SchemaTag;
use crate::text::{CapsuleName, Name, Tag, Text};

record! {
    /// What a node has to offer. It changes when capsules come and go, not while they run.
    pub struct Inventory<'a> {
        /// The version of this vocabulary that it speaks ([`VERSION`](crate::VERSION)).
        0 => wire: u8,
        /// Name and version of its firmware.
        1 => firmware: Text<'a, { limits::NAME }>,
        /// What board it is.
        2 => board: Text<'a, { limits::NAME }>,
        /// The versions of the contract with capsules that it offers.
        3 => abis: List<'a, u16, { limits::ABIS }>,
        /// Flash for capsules, in bytes: all of it, and what is left.
        4 => flash: Share,
        /// RAM for capsules, in bytes: all of it, and what is left.
        5 => ram: Share,
        /// Fuel per second: all of it, and what is not promised to an instance.
        6 => fuel: Share,
        /// Instances: how many it can host, and how many more.
        7 => instances: Share,
        /// The largest chunk that it can take, as a power of two.
        8 => chunk_log2: u8,
        /// Its sensors.
        9 => sensors: List<'a, Sensor<'a>, { limits::NODE_CHANNELS }>,
        /// Its actuators.
        10 => actuators: List<'a, Actuator<'a>, { limits::NODE_CHANNELS }>,
        /// Its digital inputs.
        11 => sources: List<'a, Name<'a>, { limits::NODE_CHANNELS }>,
        /// The neighbours that it hears, and how well.
        12 => links: List<'a, Link, { limits::LINKS }>,
        /// The manifests that it holds with their modules, complete and verified.
        13 => capsules: List<'a, DigestPrefix, { limits::HELD }>,
    }
}

tuple! {
    /// An amount, and what is left of it.
    pub struct Share {
        /// All there is.
        total: u32,
        /// What is left.
        free: u32,
    }
}

tuple! {
    /// A sensor of a node.
    pub struct Sensor<'a> {
        /// Its name.
        name: Name<'a>,
        /// What a sample of it consists of.
        schema: SchemaTag,
    }
}

tuple! {
    /// A way to a neighbour.
    pub struct Link {
        /// The neighbour.
        node: NodeId,
        /// Where it is on this link.
        address: Address,
        /// What sort of link it is.
        kind: LinkKind,
        /// How many of 255 datagrams arrive from it, as far as is known.
        quality: u8,
        /// The longest datagram that passes unfragmented, in bytes.
        mtu: u16,
    }
}

codes! {
    /// A sort of link.
    pub enum LinkKind {
        /// Within one machine.
        Loopback = 0, "loopback";
        /// Ethernet, also over USB.
        Ethernet = 1, "ethernet";
        /// Wi-Fi.
        Wifi = 2, "wifi";
        /// IEEE 802.15.4 with 6LoWPAN.
        Ieee802154 = 3, "802.15.4";
        /// A serial line.
        Serial = 4, "serial";
        /// Through another node that relays.
        Relay = 5, "relay";
    }
}

record! {
    /// How a node and its instances are.
    pub struct Status<'a> {
        /// Since its start, in milliseconds.
        0 => uptime_ms: u64,
        /// How often it has started, this time included.
        1 => boots: u32,
        /// The roster that it holds.
        2 => roster: Revision,
        /// The plan that it holds.
        3 => plan: Revision,
        /// What it knows of the time; absent if nothing.
        4 => clock: Option<Clock>,
        /// The instances that it hosts, or was to host.
        5 => instances: List<'a, InstanceStatus, { limits::ASSIGNMENTS }>,
        /// What it has refused since its start.
        6 => refused: Refused,
    }
}

tuple! {
    /// Datagrams and messages that a node has refused since its start.
    pub struct Refused {
        /// Datagrams from nobody on the roster, or not authentic.
        unauthenticated: u32,
        /// Requests that a role does not allow.
        forbidden: u32,
        /// Messages that do not fit their schema, or that no wire brings.
        messages: u32,
        /// Blobs, manifests and rosters that failed verification.
        unverified: u32,
    }
}

tuple! {
    /// How an instance is.
    pub struct InstanceStatus {
        /// The instance.
        instance: InstanceId,
        /// Its epoch.
        epoch: Epoch,
        /// What it is doing.
        state: InstanceState,
        /// Why, if it is backing off or has failed.
        reason: Option<ErrorCode>,
        /// How often it was started anew after a fault.
        restarts: u32,
        /// Messages handled.
        handled: u64,
        /// Messages published.
        published: u64,
        /// Messages lost on `latest` wires, or dropped by a full outbox.
        dropped: u32,
        /// Fuel used in the last second.
        fuel_per_second: u32,
        /// Messages that wait in the inbox.
        inbox: u16,
        /// Messages that wait in the outbox.
        outbox: u16,
    }
}

codes! {
    /// What an instance is doing.
    pub enum InstanceState {
        /// Its capsule is being fetched.
        Fetching = 0, "fetching";
        /// Admitted, with its place reserved, and not started.
        Prepared = 1, "prepared";
        /// Running.
        Running = 2, "running";
        /// Finishing its handler before its state is taken.
        Quiescing = 3, "quiescing";
        /// Its state has been taken; it waits for release or to go on.
        Quiescent = 4, "quiescent";
        /// It has another node's state and waits for its start.
        Restored = 5, "restored";
        /// Stopped on request.
        Stopped = 6, "stopped";
        /// It waits to be started anew after a fault.
        BackingOff = 7, "backing-off";
        /// It is not started any more.
        Failed = 8, "failed";
    }
}

record! {
    /// A capsule that a node holds or is to hold. What the manifest says is absent until the manifest
    /// is there and verified.
    pub struct CapsuleStatus<'a> {
        /// The digest of its manifest.
        0 => capsule: Digest,
        /// What is being done about it.
        1 => state: CapsuleState,
        /// Its name.
        2 => name: Option<CapsuleName<'a>>,
        /// Its version, for people.
        3 => version: Option<Tag<'a>>,
        /// Its sequence number.
        4 => sequence: Option<u64>,
        /// Who has signed it.
        5 => publisher: Option<KeyId>,
        /// The module's length in bytes.
        6 => size: Option<u32>,
        /// How many pieces of the module are missing, pages of digests included.
        7 => missing: Option<u16>,
        /// Why it is not here, or not yet.
        8 => reason: Option<ErrorCode>,
    }
}

codes! {
    /// What is being done about a capsule.
    pub enum CapsuleState {
        /// It waits for its turn, or for somebody who has it.
        Wanted = 0, "wanted";
        /// Its manifest or its module is on its way.
        Fetching = 1, "fetching";
        /// It is here, verified and admitted.
        Held = 2, "held";
        /// It was refused and is not tried again.
        Refused = 3, "refused";
    }
}
