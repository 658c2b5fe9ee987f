//! Formats of the documents that are signed or kept: each number says what a document is and in which
//! version, and stands in the document itself. A reader refuses the formats that it does not know.
//!
//! A change that older readers may overlook appends a field; one that they may not takes a new number
//! here.

/// A roster's head.
pub const ROSTER: u8 = 1;
/// A node's plan.
pub const PLAN: u8 = 2;
/// A capsule's description, within its manifest.
pub const CAPSULE: u8 = 3;
/// A snapshot's header.
pub const SNAPSHOT: u8 = 4;
