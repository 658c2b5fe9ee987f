//! One HTTP exchange, on a connection of its own.

use crate::url::Base;
use crate::{Error, limits};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// What is asked.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

/// Asks, and reads the whole answer.
pub(crate) async fn call(
    base: &Base,
    token: Option<&str>,
    call: Call,
) -> Result<(StatusCode, Bytes), Error> {
    within(base, limits::WAIT, async {
        let (response, _sender) = send(base, token, call, "application/json").await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limits::ANSWER).collect().await;
        Ok((status, body.map_err(|error| Error::protocol(&error))?.to_bytes()))
    })
    .await
}

/// Asks, and gives the answer before its body is read. The connection is there as long as the sender.
pub(crate) async fn send(
    base: &Base,
    token: Option<&str>,
    call: Call,
    accept: &'static str,
) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), Error> {
    let unreachable = |cause: io::Error| Error::Unreachable { url: base.to_string(), cause };
    let connecting = async { TcpStream::connect(&base.authority).await.map_err(unreachable) };
    let stream = within(base, limits::CONNECT, connecting).await?;
    // Requests are short and wait for their answers.
    stream.set_nodelay(true).map_err(unreachable)?;
    let broken = |error: hyper::Error| unreachable(io::Error::other(error));
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its errors show in the exchange.
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(call.method)
        .uri(format!("{}{}", base.path, call.path))
        .header(HOST, &base.authority)
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(call.body)).map_err(|error| Error::protocol(&error))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok((response, sender))
}

async fn within<T>(
    base: &Base,
    time: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let timeout = || Error::Timeout { url: base.to_string() };
    tokio::time::timeout(time, work).await.map_err(|_| timeout())?
}
