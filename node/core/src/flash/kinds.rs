//! The kinds of records, so that no two parts of a node use the same.

/// What an instance is to do (node).
pub const ROW: u8 = 0x01;

/// The state of an instance, as a snapshot (node).
pub const COMMIT: u8 = 0x02;

/// The node's key (site).
pub const IDENTITY: u8 = 0x10;

/// How often the node has started (site).
pub const BOOTS: u8 = 0x11;

/// The credential of the site that the node belongs to (site).
pub const SITE: u8 = 0x12;

/// The roster (site).
pub const ROSTER: u8 = 0x13;

/// What leads from the roster before to the one that counts (site).
pub const ROSTER_DELTA: u8 = 0x14;

/// The node's plan (site).
pub const PLAN: u8 = 0x15;

/// The manifest of a capsule; the extent of the same owner is its module (install).
pub const CAPSULE: u8 = 0x20;
