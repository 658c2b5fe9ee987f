//! A CoAP server and client over UDP, as an example of how the protocol crates are put to work on
//! Linux, and as one side of the interoperability tests.
//!
//! Everything that decides anything is in the protocol crates, which have neither sockets nor
//! clocks; what is here moves bytes and time ([`shell`]), keeps keys in files ([`store`], [`keys`]),
//! and offers a few resources ([`resources`]). [`command`] is the program.

mod ask;
pub mod client;
pub mod command;
pub mod contexts;
pub mod keys;
pub mod members;
mod plug_test;
pub mod resources;
mod serve;
pub mod shell;
pub mod store;
pub mod uri;
