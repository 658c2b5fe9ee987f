//! How fast something comes to all nodes of a mesh, and what that costs those who have it first.
//!
//! - [`distribution`]: a capsule comes from the registry to nodes on one radio.
//! - [`revocation`]: a roster that revokes somebody passes from node to node.

pub mod distribution;
pub mod plot;
pub mod revocation;
