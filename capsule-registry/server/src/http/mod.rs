//! The OCI distribution API, version 1.1: pull, push, and listing.

mod error;
mod route;
mod uploads;

pub(crate) use uploads::Uploads;

use crate::oci;
use crate::shared::{Access, Reference, Shared, now};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use bytes::Bytes;
use capmesh_registry_store::{Push, bounds};
use capmesh_wire::Digest;
use error::ApiError;
use route::{Query, Target};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use uploads::NotTaken;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"capmesh\"");
const DIGEST: &str = "docker-content-digest";

/// Requests at once; more wait. Each holds as much as a blob may have.
const REQUESTS: usize = 32;

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Result<Response<Body>, ApiError>;

/// All of the API.
pub(crate) fn router(shared: Arc<Shared>) -> axum::Router {
    let turns = Arc::new(Semaphore::new(REQUESTS));
    axum::Router::new().fallback(serve).with_state((shared, turns))
}

async fn serve(
    State((shared, turns)): State<(Arc<Shared>, Arc<Semaphore>)>,
    request: Request,
) -> Response<Body> {
    // It is never closed.
    let _turn = turns.acquire().await;
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let body = tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, bounds::BLOB)).await;
    let answer = match body {
        Err(_) => {
            let status = StatusCode::REQUEST_TIMEOUT;
            Err(ApiError::new(status, "BLOB_UPLOAD_INVALID", "the request has not come in time"))
        }
        Ok(Err(_)) => {
            let why = format!("a request may have {} bytes", bounds::BLOB);
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", why))
        }
        // Digests, signatures and disks take their time.
        Ok(Ok(body)) => tokio::task::spawn_blocking(move || {
            let call = Call {
                shared: &shared,
                method: &parts.method,
                headers: &parts.headers,
                query: Query(parts.uri.query().unwrap_or_default()),
                body,
            };
            call.answer(parts.uri.path())
        })
        .await
        .unwrap_or_else(|_| Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", ""))),
    };
    let mut response = answer.unwrap_or_else(|error| error.response());
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    if is_head {
        // What is left is the length that the body would have.
        *response.body_mut() = Body::empty();
    }
    response
}

/// A request.
struct Call<'a> {
    shared: &'a Shared,
    method: &'a Method,
    headers: &'a HeaderMap,
    query: Query<'a>,
    body: Bytes,
}

impl Call<'_> {
    fn answer(&self, path: &str) -> Answer {
        let target = Target::parse(path)?;
        let reads = matches!(*self.method, Method::GET | Method::HEAD);
        if !reads {
            self.authorize()?;
        }
        match (self.method, target) {
            (_, Target::Base) if reads => json(&serde_json::json!({})),
            (_, Target::Catalog) if reads => {
                let names = self.shared.store().names()?;
                self.list("repositories", serde_json::json!({}), names, "/v2/_catalog")
            }
            (_, Target::Tags(name)) if reads => {
                let tags = self.shared.store().tags(name)?;
                if tags.is_empty() {
                    return Err(ApiError::unknown(
                        "NAME_UNKNOWN",
                        format_args!("no tags of {name}"),
                    ));
                }
                let name_is = serde_json::json!({ "name": name.as_str() });
                self.list("tags", name_is, tags, &format!("/v2/{name}/tags/list"))
            }
            (_, Target::Blob(digest)) if reads => self.blob(&digest),
            (&Method::POST, Target::Uploads(name)) => self.begin(name.as_str()),
            (_, Target::Upload(name, id)) => self.upload(name.as_str(), id),
            (_, Target::Manifest(name, reference)) if reads => {
                let found = self.shared.document(name, &reference)?;
                let (digest, bytes) = found.ok_or_else(|| {
                    ApiError::unknown(
                        "MANIFEST_UNKNOWN",
                        format_args!("{name} has no such manifest"),
                    )
                })?;
                content(&digest, oci::DOCUMENT, bytes)
            }
            (&Method::PUT, Target::Manifest(name, reference)) => self.push(name, reference),
            (&Method::DELETE, Target::Manifest(name, Reference::Tag(tag))) => {
                if self.shared.store().untag(now(), name, tag)? {
                    return Ok(empty(StatusCode::ACCEPTED));
                }
                Err(ApiError::unknown("MANIFEST_UNKNOWN", format_args!("there is no {name}:{tag}")))
            }
            _ => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Err(ApiError::new(status, "UNSUPPORTED", "this registry does not do that"))
            }
        }
    }

    /// Lets those pass who may change something.
    fn authorize(&self) -> Result<(), ApiError> {
        let token = match &self.shared.access {
            // A page of somebody else's, in a browser on this machine, reaches the loopback, too.
            Access::Everybody if self.headers.contains_key(header::ORIGIN) => {
                let why = "pushing is not for pages in browsers";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "DENIED", why));
            }
            Access::Everybody => return Ok(()),
            Access::Nobody => {
                let why = "pushing is for the loopback, or with a token that the registry is given";
                return Err(ApiError::new(StatusCode::FORBIDDEN, "DENIED", why));
            }
            Access::Token(token) => token,
        };
        let given = self.headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
        let basic = |given: &str| {
            let text = given.strip_prefix("Basic ")?;
            let text = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            let at = text.iter().position(|byte| *byte == b':')?;
            text.get(at + 1..).map(<[u8]>::to_vec)
        };
        let given = given.and_then(|given| {
            let bearer = given.strip_prefix("Bearer ").map(|token| token.as_bytes().to_vec());
            bearer.or_else(|| basic(given))
        });
        if given.is_some_and(|given| bool::from(given.ct_eq(token.as_bytes()))) {
            return Ok(());
        }
        Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "pushing needs the token"))
    }

    /// A page of a list of names in order: `n` of those behind `last`.
    fn list(
        &self,
        key: &str,
        mut value: serde_json::Value,
        names: Vec<String>,
        path: &str,
    ) -> Answer {
        let last = self.query.get("last").unwrap_or_default();
        let most = self.query.get("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let mut page: Vec<_> = names.into_iter().filter(|name| *name > last).collect();
        let more = page.len() > most;
        page.truncate(most);
        let next = page.last().filter(|_| more);
        let next = next.map(|last| format!("<{path}?n={most}&last={last}>; rel=\"next\""));
        if let Some(object) = value.as_object_mut() {
            object.insert(key.to_owned(), page.into());
        }
        let mut response = json(&value)?;
        if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            response.headers_mut().insert(header::LINK, next);
        }
        Ok(response)
    }

    fn blob(&self, digest: &Digest) -> Answer {
        let mut store = self.shared.store();
        // Who asks whether a blob is here is about to push something that refers to it.
        if *self.method == Method::HEAD && self.shared.access == Access::Everybody {
            store.touch(now(), digest)?;
        }
        let bytes = store.blob(digest)?;
        drop(store);
        let bytes = bytes.ok_or_else(|| ApiError::unknown("BLOB_UNKNOWN", digest))?;
        content(digest, "application/octet-stream", bytes)
    }

    /// Begins an upload, or takes a whole blob.
    fn begin(&self, name: &str) -> Answer {
        if let Some(digest) = self.query.get("mount")
            && let Ok(digest) = digest.parse()
            && self.shared.store().touch(now(), &digest)?.is_some()
        {
            return created(name, &digest);
        }
        if let Some(digest) = self.query.get("digest") {
            return self.keep(name, &digest, &self.body);
        }
        let id = self.shared.uploads().begin(Instant::now());
        let id = id.ok_or_else(|| {
            let why = format!("{} uploads are under way", uploads::UPLOADS);
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", why)
        })?;
        Ok(progress(StatusCode::ACCEPTED, name, &id, 0))
    }

    /// Goes on with an upload, or ends it.
    fn upload(&self, name: &str, id: &str) -> Answer {
        let unknown = || ApiError::unknown("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
        match *self.method {
            Method::GET => {
                let len = self.shared.uploads().len(id).ok_or_else(unknown)?;
                Ok(progress(StatusCode::NO_CONTENT, name, id, len))
            }
            Method::PATCH => match self.append(id)? {
                Ok(len) => Ok(progress(StatusCode::ACCEPTED, name, id, len)),
                Err(len) => Ok(progress(StatusCode::RANGE_NOT_SATISFIABLE, name, id, len)),
            },
            Method::PUT => {
                let digest = self.query.get("digest");
                let digest =
                    digest.ok_or_else(|| ApiError::bad("DIGEST_INVALID", "`digest` is missing"))?;
                if let Err(len) = self.append(id)? {
                    return Ok(progress(StatusCode::RANGE_NOT_SATISFIABLE, name, id, len));
                }
                let bytes = self.shared.uploads().end(id).ok_or_else(unknown)?;
                self.keep(name, &digest, &bytes)
            }
            Method::DELETE => {
                self.shared.uploads().end(id).ok_or_else(unknown)?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "")),
        }
    }

    /// Takes a chunk; returns how much there is, as an error if the chunk did not begin there.
    fn append(&self, id: &str) -> Result<Result<usize, usize>, ApiError> {
        let range = self.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let start = range.and_then(|range| range.trim_start_matches("bytes ").split_once('-'));
        let start = start.and_then(|(start, _)| start.parse().ok());
        if range.is_some() && start.is_none() {
            return Err(ApiError::bad("BLOB_UPLOAD_INVALID", "Content-Range is malformed"));
        }
        match self.shared.uploads().append(Instant::now(), id, start, &self.body) {
            Ok(len) => Ok(Ok(len)),
            Err(NotTaken::Offset(len)) => Ok(Err(len)),
            Err(NotTaken::Unknown) => {
                Err(ApiError::unknown("BLOB_UPLOAD_UNKNOWN", "there is no such upload"))
            }
            Err(NotTaken::TooLarge) => {
                let why = format!("a blob may have {} bytes", bounds::BLOB);
                Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", why))
            }
        }
    }

    fn keep(&self, name: &str, digest: &str, bytes: &[u8]) -> Answer {
        let wanted: Digest =
            digest.parse().map_err(|_| ApiError::bad("DIGEST_INVALID", "it is no SHA-256"))?;
        let found = Digest::of(bytes);
        if found != wanted {
            let why = format!("what came has the digest {found}");
            return Err(ApiError::bad("DIGEST_INVALID", why));
        }
        self.shared.store().put_blob(now(), bytes)?;
        created(name, &found)
    }

    fn push(&self, name: capmesh_wire::CapsuleName<'_>, reference: Reference<'_>) -> Answer {
        let document = Digest::of(&self.body);
        let tag = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(digest) if digest == document => None,
            Reference::Digest(_) => {
                let why = format!("the manifest that came has the digest {document}");
                return Err(ApiError::bad("DIGEST_INVALID", why));
            }
        };
        let artifact =
            oci::read(&self.body).map_err(|error| ApiError::bad("MANIFEST_INVALID", error))?;
        let mut store = self.shared.store();
        for blob in [&artifact.manifest, &artifact.module].into_iter().chain(&artifact.others) {
            match store.touch(now(), &blob.digest)? {
                Some(size) if u64::from(size) == blob.size => {}
                Some(size) => {
                    let why = format!("{} has {size} bytes, not {}", blob.digest, blob.size);
                    return Err(ApiError::bad("SIZE_INVALID", why));
                }
                None => {
                    let why = format!("{} is not here; push it first", blob.digest);
                    return Err(ApiError::unknown("MANIFEST_BLOB_UNKNOWN", why));
                }
            }
        }
        let others: Vec<_> = artifact.others.iter().map(|blob| blob.digest).collect();
        let push = Push {
            name,
            tag,
            manifest: artifact.manifest.digest,
            module: artifact.module.digest,
            document: &self.body,
            others: &others,
        };
        let pushed = self.shared.push(&mut store, &push)?;
        drop(store);
        tracing::info!(capsule = %pushed.capsule, %name, tag = tag.map(|tag| tag.to_string()), "pushed");
        let mut response = empty(StatusCode::CREATED);
        let headers = response.headers_mut();
        insert(headers, header::LOCATION.as_str(), &format!("/v2/{name}/manifests/{document}"));
        insert(headers, DIGEST, &document.to_string());
        Ok(response)
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header; what has no characters for one is left out.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn json(value: &serde_json::Value) -> Answer {
    let text = value.to_string();
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    insert(response.headers_mut(), header::CONTENT_LENGTH.as_str(), &text.len().to_string());
    *response.body_mut() = Body::from(text);
    Ok(response)
}

/// Bytes by their digest.
fn content(digest: &Digest, media_type: &str, bytes: Vec<u8>) -> Answer {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE.as_str(), media_type);
    insert(headers, header::CONTENT_LENGTH.as_str(), &bytes.len().to_string());
    insert(headers, DIGEST, &digest.to_string());
    insert(headers, header::ETAG.as_str(), &format!("\"{digest}\""));
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

fn created(name: &str, digest: &Digest) -> Answer {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert(headers, header::LOCATION.as_str(), &format!("/v2/{name}/blobs/{digest}"));
    insert(headers, DIGEST, &digest.to_string());
    Ok(response)
}

/// How far an upload has got.
fn progress(status: StatusCode, name: &str, id: &str, len: usize) -> Response<Body> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    insert(headers, header::LOCATION.as_str(), &format!("/v2/{name}/blobs/uploads/{id}"));
    insert(headers, header::RANGE.as_str(), &format!("0-{}", len.saturating_sub(1)));
    insert(headers, "docker-upload-uuid", id);
    response
}
