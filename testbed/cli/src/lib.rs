//! The `capmesh` command: a site and its nodes from a terminal.
//!
//! # Vocabulary
//! - A *site directory* ([`Site`]) holds a site's keys, its signed roster, the addresses of its nodes
//!   and the bundles that were sent to them.
//! - An *operator* ([`Operator`]) is a member of the site that talks to nodes over CoAP, secured with
//!   EDHOC and OSCORE, with no gateway in between.
//!
//! # Invariants
//! - A roster is written to the directory before anybody is told of it, and its version only rises.
//! - Private keys are files that only their owner can read, and leave no other trace.
//!
//! # Deliberately absent
//! Decisions: which node runs what is a gateway's business. What a person says here goes to the
//! node that they name.

pub mod aiocoap;
pub mod commands;
pub mod failure;
pub mod offer;
pub mod operator;
pub mod progress;
pub mod show;
pub mod site;
pub mod up;

pub use failure::Failure;
pub use operator::Operator;
pub use site::Site;
