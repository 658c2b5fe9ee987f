//! A registry, and requests to it.

use crate::site;
use bytes::Bytes;
use capmesh_registry::client::Client;
use capmesh_registry::{Config, Handle, start};
use capmesh_registry_store::Basic;
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::{CapsuleRef, Role};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The registry's key.
pub(crate) const REGISTRY: u8 = 50;

pub(crate) fn members() -> Vec<(u8, Role, u64)> {
    vec![(1, Role::Publisher, u64::MAX), (REGISTRY, Role::Registry, u64::MAX)]
}

/// The member with this key.
pub(crate) fn identity(key: u8) -> Identity {
    let mut buf = [0; 128];
    let name = format!("m{key}");
    let name = capmesh_wire::Name::new(&name).unwrap();
    let public = site::key(key).public_key();
    let len = capmesh_wire::Credential::encode(name, &public, &mut buf).unwrap();
    Identity::new(&[key; 32], Credential::parse(&buf[..len]).unwrap()).unwrap()
}

pub(crate) fn config(state: Option<&Path>) -> Config {
    let identity = identity(REGISTRY);
    let checker = Arc::new(Basic { abis: vec![1] });
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        state: state.map(Path::to_owned),
        listen: any,
        http: any,
        ..Config::new(identity, site::key(99).public_key(), site::roster(&members()), checker)
    }
}

pub(crate) async fn registry() -> Handle {
    start(config(None)).await.unwrap()
}

pub(crate) fn client(registry: &Handle) -> Client {
    Client::new(&format!("http://{}", registry.http())).unwrap()
}

pub(crate) fn reference(text: &str) -> CapsuleRef<'_> {
    CapsuleRef::try_from(text).unwrap()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code and the words of a refusal.
    pub(crate) fn error(&self) -> (String, String) {
        let json = self.json();
        let error = &json["errors"][0];
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }
}

/// Asks, on a connection of its own.
pub(crate) async fn ask(
    registry: &Handle,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let stream = tokio::net::TcpStream::connect(registry.http()).await.unwrap();
    let (mut connection, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    let mut request = Request::builder().method(method).uri(path).header("host", "registry");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let response = connection.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}
