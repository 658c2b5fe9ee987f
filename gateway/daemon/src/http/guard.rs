//! Who may ask.
//!
//! With a token, callers must show it. Without one the API listens to this machine only, and what is left
//! to fear are pages of other sites in a browser on this machine: they cannot read answers, but could
//! send requests, or be served under a name of their own that leads here. So names other than this
//! machine's are refused, and so is what comes from a page of another origin.

use super::{Refused, Shared};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use capmesh_gateway::api::{Refusal, RefusalCode};
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;

/// Where everybody may look: pages have no secrets, and watchdogs have no token.
const OPEN: &[&str] = &["/healthz", "/readyz"];

pub(super) async fn check(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let verdict = match &shared.parts.token {
        Some(token) => authenticate(&request, token.expose()),
        None => this_machine(request.headers()),
    };
    match verdict.and_then(|()| same_origin(request.method(), request.headers())) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Refused(refusal).into_response(),
    }
}

fn authenticate(request: &Request, token: &str) -> Result<(), Refusal> {
    let path = request.uri().path();
    let is_asset = !path.starts_with("/api/") && path != "/metrics";
    if is_asset || OPEN.contains(&path) {
        return Ok(());
    }
    let bearer = header(request.headers(), header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    // Browsers cannot send headers with a stream of events.
    let query = request.uri().query().unwrap_or_default();
    let in_query = || query.split('&').find_map(|pair| pair.strip_prefix("access_token="));
    let in_query = if path == "/api/v1/events" { in_query() } else { None };
    let given = bearer.or(in_query);
    if given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into()) {
        return Ok(());
    }
    let message = if given.is_some() { "the token is another one" } else { "a token is needed" };
    Err(Refusal::new(RefusalCode::Unauthenticated, message)
        .help("send `Authorization: Bearer TOKEN`; the token is `http.token` of the gateway's configuration"))
}

fn this_machine(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = header(headers, header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(
        host,
        |(name, port)| {
            if port.ends_with(']') { host } else { name }
        },
    );
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name == "localhost" || address.is_ok() {
        return Ok(());
    }
    Err(Refusal::new(RefusalCode::Forbidden, format!("`{host}` is not a name of this machine"))
        .help("use localhost or an address, or set `http.token` and listen elsewhere"))
}

fn same_origin(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = header(headers, header::ORIGIN) else { return Ok(()) };
    let host = header(headers, header::HOST).unwrap_or_default();
    let is_same = origin.split_once("://").is_some_and(|(_, origin)| origin == host);
    if is_same || method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    Err(Refusal::new(RefusalCode::Forbidden, "a page of another origin may not do this"))
}

fn header(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
