//! Server-sent events.

use super::{Refused, Shared};
use crate::events::{MISSED, write_event};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use capmesh_gateway::api::{Answer, Event, Refusal, RefusalCode, Request, Which};
use futures_util::{StreamExt as _, stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

/// How often something is said when nothing changes, so that both sides notice a line that is dead.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/events", get(events))
}

async fn events(State(shared): State<Shared>) -> Result<Response, Refused> {
    let permit = Arc::clone(&shared.watchers)
        .try_acquire_owned()
        .map_err(|_| Refusal::new(RefusalCode::Busy, "too many watch already").retry_in(5_000))?;
    // Watching begins before the first look, so that nothing falls between the two.
    let changes = shared.parts.events.watch();
    let mut first = String::from("retry: 1000\n\n");
    for event in everything(&shared).await? {
        write_event(&mut first, &event);
    }
    let watcher = Watcher { changes, ending: shared.ending.clone(), _permit: permit };
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from(first)) });
    let rest = stream::unfold(watcher, |mut watcher| async {
        let bytes = watcher.next().await?;
        Some((Ok(bytes), watcher))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // For proxies that gather what they pass on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(first.chain(rest))).into_response())
}

struct Watcher {
    changes: broadcast::Receiver<Arc<str>>,
    ending: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// What to send next; nothing if the stream is to end.
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            changes = self.changes.recv() => match changes {
                Ok(text) if &*text == MISSED => None,
                Ok(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
                // It comes again and sees everything.
                Err(RecvError::Lagged(_) | RecvError::Closed) => None,
            },
            _ = self.ending.changed() => None,
            () = tokio::time::sleep(ALIVE) => Some(Bytes::from_static(b":\n\n")),
        }
    }
}

/// What there is, as events.
async fn everything(shared: &Shared) -> Result<Vec<Event>, Refusal> {
    let calls = &shared.parts.calls;
    let mut events = Vec::new();
    let requests = [
        Request::Site,
        Request::Nodes,
        Request::Pipelines,
        Request::Instances(Which::default()),
        Request::Plan,
        Request::Migrations,
        Request::Topics,
    ];
    for request in requests {
        match calls.ask(request).await? {
            Answer::Site(site) => events.push(Event::Mqtt(site.mqtt)),
            Answer::Nodes(nodes) => {
                events.extend(nodes.into_iter().map(|node| Event::Node(Box::new(node))));
            }
            Answer::Pipelines(pipelines) => {
                let boxed = pipelines.into_iter().map(Box::new);
                events.extend(boxed.map(Event::Pipeline));
            }
            Answer::Instances(instances) => {
                events.extend(instances.into_iter().map(Box::new).map(Event::Instance));
            }
            Answer::Plan(plan) => events.push(Event::Plan(plan)),
            Answer::Migrations(migrations) => {
                events.extend(migrations.into_iter().map(Box::new).map(Event::Migration));
            }
            Answer::Topics(topics) => {
                events.extend(topics.into_iter().filter_map(|topic| topic.last).map(Event::Value));
            }
            _ => {}
        }
    }
    Ok(events)
}
