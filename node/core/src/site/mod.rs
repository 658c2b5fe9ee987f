//! What a node knows of the site that it belongs to.

mod members;

pub use members::Members;
