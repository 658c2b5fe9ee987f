//! The other side of a registry's HTTP API: pushes and pulls capsules.

use crate::oci::{self, NotCapsule};
use base64::Engine as _;
use bytes::Bytes;
use capmesh_registry_store::bounds;
use capmesh_wire::text::CapsuleVersion;
use capmesh_wire::{CapsuleRef, Digest, Manifest};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a registry may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A registry that can be asked.
#[derive(Clone, Debug)]
pub struct Client {
    /// Host and port.
    authority: String,
    token: Option<String>,
}

/// A capsule: what its publisher has signed, and its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The signed manifest. Its signature is not verified: for that one needs the publisher's key.
    pub manifest: Vec<u8>,
    /// The module, whose digest is the one that the manifest says.
    pub module: Vec<u8>,
}

/// Why a registry did not do what was asked.
#[derive(Debug)]
pub enum Error {
    /// It is not an address that can be asked: `http://`, host and port.
    Address(String),
    /// It cannot be reached.
    Unreachable(String, std::io::Error),
    /// It has not answered in time.
    Silent(String),
    /// What came is not HTTP, or breaks off.
    Http(hyper::Error),
    /// It refused, with words.
    Refused(StatusCode, String),
    /// What it has under that name is not a capsule.
    NotCapsule(NotCapsule),
    /// What it sent is not what was asked for.
    Wrong(&'static str),
}

impl Error {
    /// The reason, by a name that never changes.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "invalid-url",
            Self::Unreachable(..) => "no-registry",
            Self::Silent(_) => "no-answer",
            Self::Refused(..) => "refused",
            Self::Http(_) | Self::NotCapsule(_) | Self::Wrong(_) => "not-understood",
        }
    }

    /// What to do, if that is known.
    #[must_use]
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(..) => Some(
                "is it running there? `capmesh up` starts one; `--registry` says where another is",
            ),
            Self::Silent(_) => Some("the registry's log says what it is doing"),
            Self::Http(_) => Some("is this the address of a registry (OCI over HTTP)?"),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(f, "`{text}` is no registry; write http://HOST:PORT"),
            Self::Unreachable(at, error) => write!(f, "no registry answers at {at}: {error}"),
            Self::Silent(at) => write!(f, "the registry at {at} has not answered in time"),
            Self::Http(error) => write!(f, "the registry's answer: {error}"),
            Self::Refused(status, why) if why.is_empty() => write!(f, "the registry says {status}"),
            Self::Refused(_, why) => write!(f, "the registry refuses: {why}"),
            Self::NotCapsule(error) => error.fmt(f),
            Self::Wrong(what) => write!(f, "the registry sent another {what} than was asked for"),
        }
    }
}

impl std::error::Error for Error {}

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

/// What a registry says when it refuses.
#[derive(Debug, Default, Deserialize)]
struct Refusals {
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// The registry at `address`: `http://127.0.0.1:5050`, or host and port alone.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn new(address: &str) -> Result<Self, Error> {
        let authority = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        let is_one = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        });
        if !is_one {
            return Err(Error::Address(address.to_owned()));
        }
        Ok(Self { authority: authority.to_owned(), token: None })
    }

    /// With what has to be known to push there.
    #[must_use]
    pub fn with_token(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Pushes a capsule, and has the reference's tag stand for it. What is there already is not sent.
    /// Returns the digest of its manifest.
    ///
    /// # Errors
    /// Why not.
    pub async fn push(
        &self,
        to: &CapsuleRef<'_>,
        manifest: &[u8],
        module: &[u8],
    ) -> Result<Digest, Error> {
        let mut connection = self.connect().await?;
        let name = to.name;
        for blob in [manifest, module] {
            let digest = Digest::of(blob);
            let path = format!("/v2/{name}/blobs/{digest}");
            let head = self.ask(&mut connection, Method::HEAD, &path, "", &[]).await?;
            if head.status() == StatusCode::OK {
                continue;
            }
            let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
            let kind = "application/octet-stream";
            let sent = self.ask(&mut connection, Method::POST, &path, kind, blob).await?;
            body(sent).await?;
        }
        let document = oci::document(manifest, module);
        let at = match to.version {
            CapsuleVersion::Tag(tag) => tag.to_string(),
            CapsuleVersion::Digest(_) => Digest::of(&document).to_string(),
        };
        let path = format!("/v2/{name}/manifests/{at}");
        let sent = self.ask(&mut connection, Method::PUT, &path, oci::DOCUMENT, &document).await?;
        body(sent).await?;
        Ok(Manifest::digest(manifest))
    }

    /// Pulls the capsule that a tag stands for, or the one with a document of this digest. Every digest
    /// is checked.
    ///
    /// # Errors
    /// Why not.
    pub async fn pull(&self, from: &CapsuleRef<'_>) -> Result<Pulled, Error> {
        let mut connection = self.connect().await?;
        let name = from.name;
        let at = match from.version {
            CapsuleVersion::Tag(tag) => tag.to_string(),
            CapsuleVersion::Digest(digest) => digest.to_string(),
        };
        let path = format!("/v2/{name}/manifests/{at}");
        let answer = self.ask(&mut connection, Method::GET, &path, "", &[]).await?;
        let document = body(answer).await?;
        if let CapsuleVersion::Digest(digest) = from.version
            && Digest::of(&document) != digest
        {
            return Err(Error::Wrong("document"));
        }
        let artifact = oci::read(&document).map_err(Error::NotCapsule)?;
        let mut blobs = [Vec::new(), Vec::new()];
        for (blob, named) in blobs.iter_mut().zip([artifact.manifest, artifact.module]) {
            let path = format!("/v2/{name}/blobs/{}", named.digest);
            let answer = self.ask(&mut connection, Method::GET, &path, "", &[]).await?;
            *blob = body(answer).await?;
            if Digest::of(blob) != named.digest {
                return Err(Error::Wrong("blob"));
            }
        }
        let [manifest, module] = blobs;
        Ok(Pulled { manifest, module })
    }

    /// The tags of a name.
    ///
    /// # Errors
    /// Why not.
    pub async fn tags(&self, name: capmesh_wire::CapsuleName<'_>) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Tags {
            tags: Vec<String>,
        }
        let mut connection = self.connect().await?;
        let path = format!("/v2/{name}/tags/list");
        let answer = self.ask(&mut connection, Method::GET, &path, "", &[]).await?;
        let list = body(answer).await?;
        let list: Tags = serde_json::from_slice(&list).map_err(|_| Error::Wrong("list of tags"))?;
        Ok(list.tags)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let connect = async {
            let stream = TcpStream::connect(&self.authority).await;
            let stream =
                stream.map_err(|error| Error::Unreachable(self.authority.clone(), error))?;
            Ok(http1::handshake(TokioIo::new(stream)).await?)
        };
        let connected = tokio::time::timeout(PATIENCE, connect).await;
        let (connection, driver) =
            connected.unwrap_or_else(|_| Err(Error::Silent(self.authority.clone())))?;
        // It ends with the connection, and its errors are those of the requests.
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn ask(
        &self,
        connection: &mut SendRequest<Full<Bytes>>,
        method: Method,
        path: &str,
        kind: &str,
        sent: &[u8],
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::ACCEPT, "*/*");
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(token) = &self.token {
            let basic = base64::engine::general_purpose::STANDARD.encode(format!("token:{token}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
        }
        let body = Full::new(Bytes::copy_from_slice(sent));
        let request = request.body(body).map_err(|_| Error::Address(self.authority.clone()))?;
        let silent = |_| Error::Silent(self.authority.clone());
        let ask = async {
            connection.ready().await?;
            connection.send_request(request).await
        };
        Ok(tokio::time::timeout(PATIENCE, ask).await.map_err(silent)??)
    }
}

/// The whole body of an answer that is not an error.
async fn body(answer: Response<Incoming>) -> Result<Vec<u8>, Error> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), bounds::BLOB + 1).collect();
    let body = tokio::time::timeout(PATIENCE, body).await;
    let body = body.map_err(|_| Error::Wrong("amount of bytes"))?;
    let body = body.map_err(|_| Error::Wrong("amount of bytes"))?.to_bytes().to_vec();
    if status.is_success() {
        return Ok(body);
    }
    let said: Refusals = serde_json::from_slice(&body).unwrap_or_default();
    let said = said.errors.into_iter().next().map(|refusal| match refusal.message.as_str() {
        "" => refusal.code,
        _ => refusal.message,
    });
    Err(Error::Refused(status, said.unwrap_or_default()))
}
