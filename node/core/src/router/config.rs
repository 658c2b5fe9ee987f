//! What a router may take, and how patient it is.

use capmesh_wire::limits;
use core::time::Duration;

/// The bounds and times of a [`Router`](super::Router).
///
/// Bytes of an inbox or outbox count what its messages take in RAM: the payload and
/// [`MESSAGE`](super::MESSAGE) bytes around it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Instances at once.
    pub instances: u8,
    /// Messages in the inbox of one instance, handled ones that no commit covers included.
    pub inbox_messages: u16,
    /// Bytes in the inbox of one instance.
    pub inbox_bytes: u32,
    /// Messages in the outbox of one instance. It is raised to what one handler may publish.
    pub outbox_messages: u16,
    /// Bytes in the outbox of one instance. They are raised to what one handler may publish.
    pub outbox_bytes: u32,
    /// After how many messages a commit is due.
    pub commit_after: u16,
    /// How long a message may wait for a commit.
    pub commit_delay: Duration,
    /// Bytes of a batch: what fits a datagram beside CoAP's and OSCORE's heads.
    pub batch_bytes: u16,
    /// Batches of `every` wires on their way to one peer.
    pub window: u8,
    /// Batches of `every` wires on their way to anybody: as many exchanges as the endpoint can spare.
    pub flights: u8,
    /// Batches of others that wait for a commit before they are acknowledged: as many unanswered
    /// requests as the endpoint can spare. One more is answered 5.03.
    pub held: u8,
    /// After what time such a batch is answered with what is covered by then.
    pub ack_patience: Duration,
    /// The first wait before something is tried again; it doubles.
    pub retry_min: Duration,
    /// The longest wait before something is tried again.
    pub retry_max: Duration,
    /// How many messages a `latest` wire may send at once.
    pub burst: u8,
    /// How often a `latest` wire may send one more, and how often observers hear of a topic.
    pub pace: Duration,
    /// Requests of capsules that wait for their reply.
    pub asks: u8,
    /// Requests to capsules that wait to be handled.
    pub served: u8,
    /// How long a reply may take.
    pub ask_timeout: Duration,
    /// Instances that went elsewhere and are remembered.
    pub released: u8,
    /// For how long.
    pub released_for: Duration,
}

impl Config {
    /// For a machine of PC class.
    #[must_use]
    pub fn for_host() -> Self {
        Self {
            inbox_messages: 256,
            inbox_bytes: 32 << 10,
            outbox_messages: 512,
            outbox_bytes: 64 << 10,
            window: 4,
            flights: 64,
            held: 64,
            asks: 64,
            served: 64,
            burst: 32,
            pace: Duration::from_millis(5),
            commit_after: 64,
            commit_delay: Duration::from_millis(20),
            batch_bytes: 1_024,
            ..Self::default()
        }
    }
}

impl Default for Config {
    /// For a board, whose endpoint has few exchanges and whose commits fit 3 KB of flash: an idle
    /// instance takes what its row does, a busy one up to 3.5 KB more.
    fn default() -> Self {
        const { assert!(limits::ASSIGNMENTS <= 64) };
        Self {
            instances: 64,
            inbox_messages: 32,
            inbox_bytes: 1_536,
            outbox_messages: 48,
            outbox_bytes: 2_048,
            commit_after: 16,
            commit_delay: Duration::from_millis(100),
            batch_bytes: 768,
            window: 2,
            flights: 3,
            held: 3,
            ack_patience: Duration::from_secs(30),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
            burst: 4,
            pace: Duration::from_millis(50),
            asks: 4,
            served: 4,
            ask_timeout: Duration::from_secs(30),
            released: 8,
            released_for: Duration::from_secs(600),
        }
    }
}
