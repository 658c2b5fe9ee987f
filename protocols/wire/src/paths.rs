//! Where things are on a peer: paths of CoAP resources, which all peers share.

/// Commands to a node: POST.
pub const CONTROL: &str = "c";
/// Batches for an instance of a node: POST to `m/instance`.
pub const INBOX: &str = "m";
/// The topics that a node produces: `t/pipeline/capsule/output`; GET, with Observe.
pub const TOPICS: &str = "t";
/// Blobs: FETCH with a piece request.
pub const BLOBS: &str = "b";
/// What is held of a blob: FETCH with its digest.
pub const HAVE: &str = "h";
/// The site's roster: GET, PUT.
pub const ROSTER: &str = "r";
/// A node's plan: GET, PUT.
pub const PLAN: &str = "p";
/// A node's inventory: GET, with Observe.
pub const INVENTORY: &str = "i";
/// A node's status: GET, with Observe.
pub const STATUS: &str = "s";
/// A node's log: GET, with Observe.
pub const LOG: &str = "l";
/// The time: FETCH with a time request.
pub const TIME: &str = "u";
/// A peer's own credential: GET, also unprotected, for whoever adopts it by its claim. Before it is
/// adopted a node answers only those who say the claim, `k?c=` and its text: who could read the key
/// could compute the claim.
pub const CREDENTIAL: &str = "k";
/// Announcements: POST to the multicast address, non-confirmable, unprotected.
pub const ANNOUNCE: &str = "a";
/// Capsules from an operator: PUT with a bundle; DELETE on `x/` and the digest of a manifest.
pub const CAPSULES: &str = "x";
/// What a tag stands for, at a registry: GET with `t=` and a name with its tag (`n?t=city/clean:1`),
/// answered by a [`Resolved`](crate::registry::Resolved).
pub const TAGS: &str = "n";
/// What can be asked of capsules: `q/instance/service`, or `q/pipeline/capsule/service` for people.
pub const SERVICES: &str = "q";
/// Blobs as they are said to all on a link: POST with a [`Part`](crate::said::Part), FETCH with an
/// [`Ask`](crate::said::Ask), both to the multicast address, non-confirmable and without a token.
pub const SAID: &str = "d";
