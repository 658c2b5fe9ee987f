//! CoAP as a sans-I/O core.
#![no_std]

pub mod block;
pub mod echo;
pub mod endpoint;
pub mod link_format;
pub mod message;
pub mod option;
pub mod security;
pub mod server;

pub use endpoint::Endpoint;
pub use message::{Code, Kind, Message, MessageWriter, Token};
pub use security::Security;
