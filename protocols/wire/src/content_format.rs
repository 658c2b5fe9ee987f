//! CoAP content formats of the vocabulary, out of the range for private use (RFC 7252 section 12.3).

/// A roster, or a delta of one.
pub const ROSTER: u16 = 65_100;
/// A capsule's manifest.
pub const MANIFEST: u16 = 65_101;
/// A node's plan.
pub const PLAN: u16 = 65_102;
/// A batch of messages, its acknowledgement or the hint to retry.
pub const BATCH: u16 = 65_103;
/// A command to a node, and its reply.
pub const CONTROL: u16 = 65_104;
/// A node's inventory.
pub const INVENTORY: u16 = 65_105;
/// A node's status.
pub const STATUS: u16 = 65_106;
/// An announcement.
pub const ANNOUNCE: u16 = 65_107;
/// What is held of a blob, and what is asked of it.
pub const BLOB: u16 = 65_108;
/// A snapshot.
pub const SNAPSHOT: u16 = 65_109;
/// A capsule in one file: a bundle.
pub const BUNDLE: u16 = 65_110;
