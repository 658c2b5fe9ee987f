//! Errors of the OCI distribution API.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use capmesh_registry_store::{Fault, Refusal};
use serde_json::json;
use std::fmt::Display;

/// Why a request fails.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// A code of the OCI distribution specification.
    code: &'static str,
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self { status, code, message: message.to_string() }
    }

    pub(super) fn bad(code: &'static str, message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn unknown(code: &'static str, message: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn response(&self) -> Response<Body> {
        let error = json!({"code": self.code, "message": self.message});
        let mut response = Response::new(Body::from(json!({ "errors": [error] }).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, super::JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, super::CHALLENGE);
        }
        response
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "the store");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the store has failed")
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Fault(fault) => return fault.clone().into(),
            Refusal::Missing(_) => (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            Refusal::UnknownPublisher(_)
            | Refusal::NotPublisher(_)
            | Refusal::Signature(_)
            | Refusal::RolledBack { .. } => (StatusCode::FORBIDDEN, "DENIED"),
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
            Refusal::Quota { .. } | Refusal::Full { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "DENIED")
            }
            Refusal::Grammar(_) | Refusal::Name { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Refusal::Malformed(_)
            | Refusal::ModuleSize { .. }
            | Refusal::ModuleDigest { .. }
            | Refusal::Root
            | Refusal::Chunks(_)
            | Refusal::CutOtherwise { .. }
            | Refusal::Check(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        };
        Self::new(status, code, refusal)
    }
}
