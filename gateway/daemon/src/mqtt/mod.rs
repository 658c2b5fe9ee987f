//! The way to an MQTT broker.
//!
//! [`run`] keeps a [`Line`] to the broker up and is the only one who publishes:
//! - the durable outbox, in order, with QoS 1, each publication until the broker acknowledges it;
//! - what is worth publishing only now, if there is a line now;
//! - that this gateway goes offline. If it goes without saying so, the broker publishes its will.
//!
//! What comes from the broker goes to the gateway in order, and is not read faster than it takes it.
//!
//! # Invariants
//! - Whatever becomes of the broker or the line, nothing leaves the outbox unacknowledged.
//! - A line that does nothing for too long is dropped and dialled anew; attempts get rarer by and by, and
//!   keep no common time with those of other gateways.
//! - Only [`limits::VOLATILE`] publications that are not durable wait; the oldest go first.
//!
//! [`Client`] is the only part that knows the library underneath.

mod backoff;
mod client;
mod line;
mod pump;
mod tls;
mod window;

pub use backoff::Backoff;
pub use client::{Client, Server};
pub use line::{Dial, Happening, Incoming, Line};
pub use pump::{Ears, Mqtt, Settings, run};
pub use tls::TlsError;

/// The bounds, with their reasons.
pub mod limits {
    use std::time::Duration;

    /// Publications that wait for their acknowledgement at most; brokers may ask for less.
    pub const WINDOW: u16 = 1_024;

    /// Publications that are not durable and wait for room on the line.
    pub const VOLATILE: usize = 4_096;

    /// Publications that are read from the outbox at a time.
    pub const READ: usize = 1_024;

    /// The longest packet that is taken from a broker, in bytes.
    pub const PACKET: u32 = 1 << 20;

    /// How long a publication may wait for its acknowledgement before the line is taken for dead.
    pub const PATIENCE: Duration = Duration::from_secs(20);

    /// How often the line is tried when nothing passes.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

    /// How long dialling may take.
    pub const DIAL: Duration = Duration::from_secs(5);

    /// How long saying goodbye may take.
    pub const GOODBYE: Duration = Duration::from_secs(2);
}
