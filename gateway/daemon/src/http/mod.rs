//! The page and the API.
//!
//! | | |
//! |---|---|
//! | `POST /api/v1/requests` | any [`Request`](capmesh_gateway::api::Request), as JSON |
//! | `GET /api/v1/{site,nodes,instances,pipelines,plan,topics,log,capsules,migrations}` | what there is |
//! | `GET /api/v1/nodes/N`, `instances/ID`, `pipelines/NAME` | one of them |
//! | `POST /api/v1/pipelines` | run a pipeline: TOML; `?dry_run=true`, `?file=NAME` |
//! | `DELETE /api/v1/pipelines/NAME` | end it |
//! | `POST /api/v1/instances/ID/{migrate,restart}` | move an instance (`{"to":"n2"}`), or start it afresh |
//! | `POST /api/v1/nodes` | take a node in: `{"claim":..., "address":..., "name":...}` |
//! | `POST /api/v1/nodes/N/{drain,undrain,revoke,reboot,rename,label}` | what else is done with nodes |
//! | `GET /api/v1/events` | server-sent events: what there is, and then what changes |
//! | `GET /metrics`, `/healthz`, `/readyz` | for those who watch over it |
//! | everything else | the page |
//!
//! Answers and refusals are the JSON of [`capmesh_gateway::api`]. Instances are named by number, or as
//! `pipeline/name/replica` with the slashes as `%2F`.

mod api;
mod assets;
mod guard;
mod stream;
mod watch;

use crate::calls::Calls;
use crate::config::Secret;
use crate::events::Events;
use crate::storage::Outbox;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use capmesh_gateway::api::{Refusal, limits};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch as channel};
use tokio::task::JoinHandle;

/// Watchers of events at a time: pages and commands of a whole team.
const WATCHERS: usize = 64;

/// What the API is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The way to the gateway.
    pub calls: Calls,
    /// What changes.
    pub events: Events,
    /// What waits for the broker.
    pub outbox: Outbox,
    /// What callers must know.
    pub token: Option<Secret>,
    /// Whether there is to be a line to a broker.
    pub has_broker: bool,
}

/// What every handler has at hand.
#[derive(Clone)]
struct Shared {
    parts: Parts,
    watchers: Arc<Semaphore>,
    /// Turns when the server is to end, so that streams end as well.
    ending: channel::Receiver<bool>,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ending: channel::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts to serve.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start(listen: SocketAddr, parts: Parts) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        crate::metrics::install();
        let address = listener.local_addr()?;
        let (sender, ending) = channel::channel(false);
        let mut ended = ending.clone();
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        let router = router(Shared { parts, watchers, ending });
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
            // The sender is dropped with the server, which ends it as well.
            let _ = ended.wait_for(|ending| *ending).await;
        });
        let task = tokio::spawn(serving.into_future());
        Ok(Self { address, ending: sender, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: exchanges that have begun are finished, streams are ended.
    pub async fn close(self) {
        self.ending.send_replace(true);
        let patience = std::time::Duration::from_secs(2);
        if tokio::time::timeout(patience, self.task).await.is_err() {
            tracing::debug!("a caller holds on to its connection");
        }
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .nest("/api/v1", api::routes().merge(stream::routes()))
        .merge(watch::routes())
        .fallback(assets::serve)
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard::check))
        .layer(DefaultBodyLimit::max(limits::REQUEST))
        .with_state(shared)
}

/// A refusal as a response.
struct Refused(Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = axum::http::StatusCode::from_u16(self.0.status());
        let status = status.unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(self.0)).into_response()
    }
}
