//! Every bound of the vocabulary, with its reason.
//!
//! A bound is part of the protocol: what is past it is refused by every reader, so raising one is a
//! change of version for whoever still has the old one.

/// Arrays, maps and tags within each other, in what a reader skips. Our own documents need six.
pub const NESTING: usize = 8;

/// Fields of one record, known or not: room for every record to double, little enough that a
/// hostile one costs no more than a glance.
pub const FIELDS: usize = 48;

/// Bytes of a name (node, capsule, pipeline, input, output, sensor, field): the longest text with a
/// head of one byte.
pub const NAME: usize = 23;

/// Bytes of a topic: three names (pipeline, capsule, output) and what separates them.
pub const TOPIC: usize = 3 * NAME + 2;

/// Bytes of a capsule's name in the registry: two names and what separates them.
pub const CAPSULE_NAME: usize = 2 * NAME + 1;

/// Bytes of a CCS credential as [`Credential`](crate::Credential) writes it: 91 and the subject.
/// `lakers` has room for 192.
pub const CREDENTIAL: usize = 91 + NAME;

/// Entries of a roster. At [`ROSTER_ENTRY`] bytes each it is 64 KB then: two of them, the old and
/// the new, are as much flash as a board with 512 KB can spare.
pub const ROSTER_ENTRIES: usize = 500;

/// Bytes of a roster's entry: its credential, 10 for role and expiry, 3 for framing.
pub const ROSTER_ENTRY: usize = CREDENTIAL + 13;

/// Entries that a delta of a roster can remove: an evening's revocations, in less than a datagram.
pub const ROSTER_REMOVALS: usize = 64;

/// Bytes of a roster before its entries: signature (64), head, framing.
pub const ROSTER_HEAD: usize = 192;

/// Bytes of a blob: more than any board holds, and few enough for 65,536 of the smallest chunks.
pub const BLOB: u32 = 4 << 20;

/// The smallest chunk, as a power of two: two digests, so that pages still form a tree.
pub const CHUNK_LOG2_MIN: u8 = 6;

/// The largest chunk, as a power of two. A node holds a chunk in RAM until it is verified, and may
/// refuse what is larger than it can hold.
pub const CHUNK_LOG2_MAX: u8 = 12;

/// Fields of a schema, or of a capsule's configuration. A head of one byte counts them.
pub const FIELDS_OF_SCHEMA: usize = 16;

/// Bytes of an encoded field; a schema's head is as long.
pub const FIELD: usize = NAME + 9;

/// Bytes of a payload, which a schema's longest must not pass: a message and its protection fit one
/// datagram of the smallest MTU that IPv6 allows (1,280), beside another of its size.
pub const PAYLOAD: usize = 512;

/// Bytes of a manifest: it is held in RAM whole until its signature is verified, within the 4 KB
/// that a transfer may take.
pub const MANIFEST: usize = 2_048;

/// Bytes of a URI in a manifest.
pub const URI: usize = 128;

/// Schemas of a capsule.
pub const SCHEMAS: usize = 16;

/// Inputs of a capsule, and outputs likewise.
pub const PORTS: usize = 8;

/// Sensors of a capsule, and actuators and digital inputs likewise.
pub const CHANNELS: usize = 8;

/// Capsules that one capsule asks.
pub const PEERS: usize = 4;

/// Resources of a capsule, and resources that it asks of one other.
pub const SERVICES: usize = 8;

/// Bytes of a problem's detail for people.
pub const DETAIL: usize = 64;

/// Messages of a batch. A head of one byte counts them, so that a batch can be written message by
/// message.
pub const BATCH: usize = 23;

/// Routes of a node's plan: more neighbours than that no board has sessions for.
pub const ROUTES: usize = 64;

/// Assignments of a node's plan: what a large Linux node runs.
pub const ASSIGNMENTS: usize = 64;

/// Addresses of one node.
pub const ADDRESSES: usize = 4;

/// Wires that begin at one instance, and wires that end at it.
pub const WIRES: usize = 32;

/// Nodes to ask for a capsule.
pub const SOURCES: usize = 4;

/// Versions of the contract with capsules that one node offers.
pub const ABIS: usize = 4;

/// Sensors of a node, and actuators and digital inputs likewise.
pub const NODE_CHANNELS: usize = 32;

/// Neighbours that an inventory lists.
pub const LINKS: usize = 32;

/// Capsules that an inventory lists.
pub const HELD: usize = 64;

/// Bytes of a bitmap of pieces: 1,024 pieces, a blob of 1 MB at 1 KB a chunk.
pub const HAVE: usize = 128;

/// Timers of an instance.
pub const TIMERS: usize = 32;

/// Sections of a snapshot.
pub const SECTIONS: usize = 8;

/// Bytes of a line of the log.
pub const LOG_LINE: usize = 128;

/// Parts that a piece is said in: pieces of 2 KB on links with frames of 127 bytes.
pub const PARTS: usize = 32;

/// Pieces that one request for parts names.
pub const LACKS: usize = 8;
