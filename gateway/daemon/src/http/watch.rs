//! For those who watch over it: figures, and whether it lives and works.

use super::{Refused, Shared};
use crate::metrics as figures;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use capmesh_gateway::api::{Answer, Refusal, RefusalCode, Request, SiteView};
use std::time::Duration;

/// How long a gateway that works may take to say so.
const PROMPT: Duration = Duration::from_secs(2);

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// Whether it lives: if not, only a restart helps.
async fn healthz(State(shared): State<Shared>) -> Response {
    if shared.parts.calls.is_open() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the gateway has ended\n").into_response()
    }
}

/// Whether it works: it answers, and has its broker.
async fn readyz(State(shared): State<Shared>) -> Response {
    let problem = match site(&shared).await {
        Ok(site) if site.mqtt.connected || !shared.parts.has_broker => {
            return "ready\n".into_response();
        }
        Ok(_) => "no line to the MQTT broker".to_owned(),
        Err(refusal) => refusal.to_string(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Refused> {
    let site = site(&shared).await?;
    let text = figures::render(&site, shared.parts.outbox.waiting());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

async fn site(shared: &Shared) -> Result<SiteView, Refusal> {
    let late = |_| Refusal::new(RefusalCode::Timeout, "the gateway does not answer in time");
    match tokio::time::timeout(PROMPT, shared.parts.calls.ask(Request::Site))
        .await
        .map_err(late)??
    {
        Answer::Site(site) => Ok(*site),
        _ => Err(Refusal::new(RefusalCode::Internal, "the gateway answers something else")),
    }
}
