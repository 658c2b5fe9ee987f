//! The CoRE link format (RFC 6690), written and read.
//!
//! [`Attributes`] describe a resource; [`LinkWriter`] writes links of those that a [`Filter`] lets
//! through; [`Links`] reads a document without copying it. Relations between links (`anchor`, `rel`)
//! are written and read like any other attribute and mean nothing here.

mod parse;
mod write;

pub use parse::{BadLink, Link, Links, Params, Value};
pub use write::{Attributes, Filter, LinkWriter};

/// The Content-Format of a link-format document (RFC 7252 section 12.3).
pub const CONTENT_FORMAT: u16 = 40;

#[cfg(test)]
mod tests;
