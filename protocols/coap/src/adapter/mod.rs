//! Handlers written against the `coap-message` 0.3 and `coap-handler` 0.2 traits, as Ariel OS uses
//! them, as resources of a [`Server`](crate::server::Server).
//!
//! [`Message`](crate::Message) is a readable message and [`MessageWriter`](crate::MessageWriter) a
//! mutable writable one. [`Mounted`] makes a resource of a `Handler`, and [`Reported`] one of a
//! `Handler` that is `Reporting` as well, whose records `.well-known/core` then lists below the path
//! where it is mounted.
//!
//! A handler sees a request without what led to it: Uri-Host, Uri-Port, and the segments of the path
//! that it is mounted at. Request bodies are assembled for it. Blocks of responses, entity-tags and
//! preconditions are its own business, as these traits have it. It has no way to learn who asks, to
//! answer later, or to say that something has changed: for the last, the application calls
//! [`Server::changed`](crate::server::Server::changed).

mod handler;
mod traits;

pub use handler::{Mounted, Reported};

#[cfg(test)]
mod tests;
