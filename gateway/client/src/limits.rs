//! The bounds, with their reasons.

use std::time::Duration;

/// Bytes of an answer: a site of thousands of nodes.
pub const ANSWER: usize = 16 << 20;

/// Bytes of an event, and of the line that carries it: a plan of some thousand rows.
pub const EVENT: usize = 4 << 20;

/// How long connecting may take.
pub const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take: longer than the gateway takes to give up on a node.
pub const WAIT: Duration = Duration::from_secs(60);

/// How long a gateway may be silent on a stream of events: it says something every 15 seconds.
pub const SILENCE: Duration = Duration::from_secs(45);
