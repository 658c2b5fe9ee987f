//! A connection to a broker, whatever library makes it.

use capmesh_gateway::Publication;
use std::future::Future;

/// Makes lines.
pub trait Dial: Send + 'static {
    /// A line.
    type Line: Line;

    /// Begins to dial. The line says [`Happening::Up`] or [`Happening::Ended`].
    fn dial(&mut self) -> Self::Line;
}

/// One connection, from dialling to its end.
pub trait Line: Send {
    /// Sends a publication; says whether there was room. With `tag`, the line says
    /// [`Happening::Acknowledged`] with the same number once the broker has it; tags rise by one.
    fn publish(&mut self, publication: &Publication, tag: Option<u64>) -> bool;

    /// Asks for what is published under these filters; says whether there was room.
    fn subscribe(&mut self, filters: &[String]) -> bool;

    /// Asks for these filters no more; says whether there was room.
    fn unsubscribe(&mut self, filters: &[String]) -> bool;

    /// Says goodbye, so that the broker does not publish the will.
    fn close(&mut self);

    /// What happens next. May be dropped and called again without losing anything.
    fn happening(&mut self) -> impl Future<Output = Happening> + Send;
}

/// What happens to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is up.
    Up {
        /// Publications that the broker takes before it acknowledges the first of them.
        window: u16,
    },
    /// The broker has a publication, or will never take it.
    Acknowledged {
        /// Which.
        tag: u64,
        /// Why not, if it will not.
        refused: Option<String>,
    },
    /// There may be room for what there was none.
    Sent,
    /// It is over, and why.
    Ended(String),
}

/// What has come from a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its topic.
    pub topic: String,
    /// What it holds.
    pub payload: bytes::Bytes,
    /// Whether the broker had kept it for later subscribers.
    pub retain: bool,
    /// Where an answer is wanted.
    pub response_topic: Option<String>,
    /// What is to go with the answer.
    pub correlation: Option<bytes::Bytes>,
}
