//! The page.

use super::Refused;
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use capmesh_gateway::api::{Refusal, RefusalCode};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../dashboard/dist"]
#[allow_missing = true]
struct Dist;

/// Pages may take what they need from here and from nowhere else.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      frame-ancestors 'none'";

pub(super) async fn serve(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_looking = method == Method::GET || method == Method::HEAD;
    // The page finds its own way by what follows `#`, so there is one document.
    let name = if path.is_empty() { "index.html" } else { path };
    match Dist::get(name) {
        Some(file) if is_looking => {
            let kept = if name.starts_with("assets/") {
                // Their names change with what they hold.
                "public, max-age=31536000, immutable"
            } else {
                "no-cache"
            };
            let headers = [
                (header::CONTENT_TYPE, kind(name)),
                (header::CACHE_CONTROL, kept),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, file.data.into_owned()).into_response()
        }
        _ => Refused(
            Refusal::new(RefusalCode::NotFound, format!("there is no {path}"))
                .help("the page is at /, the API at /api/v1"),
        )
        .into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "webmanifest") => "application/json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}
