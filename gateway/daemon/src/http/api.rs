//! Requests and their answers.

use super::{Refused, Shared};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use capmesh_gateway::api::{Answer, Deploy, Refusal, RefusalCode, Request, limits};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

type Body = Result<Bytes, BytesRejection>;
type Answered = Result<Json<Answer>, Refused>;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/requests", post(any))
        .route("/site", get(|shared, query| list(shared, query, "site")))
        .route("/nodes", get(|shared, query| list(shared, query, "nodes")).post(adopt))
        .route("/nodes/{node}", get(node))
        .route("/nodes/{node}/{op}", post(on_node))
        .route("/instances", get(|shared, query| list(shared, query, "instances")))
        .route("/instances/{instance}", get(instance))
        .route("/instances/{instance}/{op}", post(on_instance))
        .route("/pipelines", get(|shared, query| list(shared, query, "pipelines")).post(deploy))
        .route("/pipelines/{pipeline}", get(pipeline).delete(undeploy))
        .route("/plan", get(|shared, query| list(shared, query, "plan")))
        .route("/topics", get(|shared, query| list(shared, query, "topics")))
        .route("/log", get(|shared, query| list(shared, query, "log")))
        .route("/capsules", get(|shared, query| list(shared, query, "capsules")))
        .route("/migrations", get(|shared, query| list(shared, query, "migrations")))
        .fallback(async || {
            Refused(
                Refusal::new(RefusalCode::NotFound, "the API has nothing of this name")
                    .help("GET /api/v1/site is a beginning"),
            )
        })
}

async fn any(State(shared): State<Shared>, body: Body) -> Answered {
    ask(&shared, Request::parse(&read(body)?)?).await
}

/// What is listed by an operation of this name, with what the query says.
async fn list(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
    op: &'static str,
) -> Answered {
    let arguments = arguments(query.as_deref().unwrap_or_default())?;
    ask(&shared, operation(op, &arguments)?).await
}

async fn node(State(shared): State<Shared>, Path(node): Path<String>) -> Answered {
    ask(&shared, operation("node", &with("node", node))?).await
}

async fn instance(State(shared): State<Shared>, Path(instance): Path<String>) -> Answered {
    ask(&shared, operation("instance", &with("instance", instance))?).await
}

async fn pipeline(State(shared): State<Shared>, Path(pipeline): Path<String>) -> Answered {
    ask(&shared, operation("pipeline", &with("pipeline", pipeline))?).await
}

async fn undeploy(State(shared): State<Shared>, Path(pipeline): Path<String>) -> Answered {
    ask(&shared, operation("undeploy", &with("pipeline", pipeline))?).await
}

async fn adopt(State(shared): State<Shared>, body: Body) -> Answered {
    ask(&shared, Request::parse_op("adopt", &read(body)?)?).await
}

async fn on_node(
    State(shared): State<Shared>,
    Path((node, op)): Path<(String, String)>,
    body: Body,
) -> Answered {
    const OPERATIONS: &[&str] = &["drain", "undrain", "revoke", "reboot", "rename", "label"];
    let body = read(body)?;
    ask(&shared, on("node", node, &op, OPERATIONS, &body)?).await
}

async fn on_instance(
    State(shared): State<Shared>,
    Path((instance, op)): Path<(String, String)>,
    body: Body,
) -> Answered {
    let body = read(body)?;
    ask(&shared, on("instance", instance, &op, &["migrate", "restart"], &body)?).await
}

/// How a pipeline is to be taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct How {
    dry_run: bool,
    file: Option<String>,
}

async fn deploy(State(shared): State<Shared>, RawQuery(query): RawQuery, body: Body) -> Answered {
    let How { dry_run, file } = parsed(arguments(query.as_deref().unwrap_or_default())?)?;
    let text = String::from_utf8(read(body)?.to_vec())
        .map_err(|_| Refusal::new(RefusalCode::Malformed, "the pipeline is not text in UTF-8"))?;
    ask(&shared, Request::Deploy(Deploy { text, file, dry_run })).await
}

async fn ask(shared: &Shared, request: Request) -> Answered {
    Ok(Json(shared.parts.calls.ask(request).await?))
}

fn read(body: Body) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| {
        let message = format!("the request is longer than {} bytes, or broke off", limits::REQUEST);
        Refusal::new(RefusalCode::TooLarge, message).because(rejection.body_text())
    })
}

/// An operation on something that the path names; the body says the rest.
fn on(
    key: &str,
    name: String,
    op: &str,
    operations: &[&str],
    body: &[u8],
) -> Result<Request, Refusal> {
    if !operations.contains(&op) {
        let message = format!("there is no operation `{op}` on a thing of this kind");
        let known = format!("there are {}", operations.join(", "));
        return Err(Refusal::new(RefusalCode::NotFound, message).help(known));
    }
    let mut object: Map<String, Value> = match body.trim_ascii() {
        [] => Map::new(),
        body => serde_json::from_slice(body).map_err(|error| malformed(&error))?,
    };
    object.insert(key.to_owned(), name.into());
    operation(op, &object)
}

fn operation(op: &str, arguments: &Map<String, Value>) -> Result<Request, Refusal> {
    let json = serde_json::to_vec(arguments).map_err(|error| malformed(&error))?;
    Request::parse_op(op, &json)
}

fn with(key: &str, value: String) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), value.into())])
}

/// A query as an object: numbers and truth values as such, everything else as text.
fn arguments(query: &str) -> Result<Map<String, Value>, Refusal> {
    let pairs: Vec<(String, String)> = parsed_query(query)?;
    let value = |text: String| match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<u64>().map_or_else(|_| Value::String(text.clone()), Value::from),
    };
    Ok(pairs.into_iter().map(|(key, text)| (key, value(text))).collect())
}

fn parsed_query(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let uri = format!("/?{query}").parse().map_err(|error: axum::http::uri::InvalidUri| {
        Refusal::new(RefusalCode::Malformed, "the query is not one").because(error.to_string())
    })?;
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    query.map(|query| query.0).map_err(|rejection| {
        Refusal::new(RefusalCode::Malformed, "the query is not one").because(rejection.body_text())
    })
}

fn parsed<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(arguments.into()).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::new(RefusalCode::Malformed, "the request is not what it should be")
        .because(error.to_string())
}
