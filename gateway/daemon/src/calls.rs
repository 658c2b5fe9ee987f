//! The way to the gateway for whoever asks: bounded, and never without an answer.

use capmesh_gateway::api::{Answer, Refusal, RefusalCode, Request};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the gateway to take them up.
const WAITING: usize = 256;

/// How long the gateway may take: longer than it takes itself to give up on a node.
const WAIT: Duration = Duration::from_secs(45);

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who waits; nobody, if they have given up.
    pub answer: oneshot::Sender<Result<Answer, Refusal>>,
}

/// Asks the gateway.
#[derive(Clone, Debug)]
pub struct Calls(mpsc::Sender<Call>);

impl Calls {
    /// The two ends.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Call>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the gateway refuses; that it has too much to do, takes too long, or has ended.
    pub async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        request.check()?;
        let (answer, is_answered) = oneshot::channel();
        self.0.try_send(Call { request, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new(RefusalCode::Busy, "the gateway has too much to do").retry_in(1_000)
            }
            mpsc::error::TrySendError::Closed(_) => ended(),
        })?;
        match tokio::time::timeout(WAIT, is_answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Refusal::new(
                RefusalCode::Timeout,
                format!("not done in {} seconds; it may still be", WAIT.as_secs()),
            )),
        }
    }

    /// Whether there is a gateway.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

fn ended() -> Refusal {
    Refusal::new(RefusalCode::Internal, "the gateway is ending").retry_in(2_000)
}
