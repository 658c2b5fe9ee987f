//! Server-sent events.

use crate::api::{Event, Refusal};
use crate::connection::{Call, send};
use crate::url::Base;
use crate::{Error, limits};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use std::collections::VecDeque;

/// What changes, as it changes.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Event>,
    /// The connection is there as long as this.
    _sender: SendRequest<Full<Bytes>>,
}

impl Events {
    pub(crate) async fn open(base: &Base, token: Option<&str>) -> Result<Self, Error> {
        let call = Call { method: "GET", path: "/api/v1/events", body: Bytes::new() };
        let opening = send(base, token, call, "text/event-stream");
        let opened = tokio::time::timeout(limits::WAIT, opening).await;
        let (response, sender) = opened.map_err(|_| Error::Timeout { url: base.to_string() })??;
        if !response.status().is_success() {
            let status = response.status();
            let body = Limited::new(response.into_body(), limits::ANSWER).collect().await;
            let body = body.map_err(|error| Error::protocol(&error))?.to_bytes();
            return Err(serde_json::from_slice::<Refusal>(&body).map_or_else(
                |_| Error::protocol(&format_args!("it answers with status {status}")),
                |refusal| Error::Refused(Box::new(refusal)),
            ));
        }
        let parser = Parser::default();
        let body = response.into_body();
        Ok(Self { body, parser, ready: VecDeque::new(), _sender: sender })
    }

    /// The next event; none if the gateway has ended. Kinds of events that this version does not know
    /// are passed over.
    ///
    /// # Errors
    /// If the line breaks or the gateway says nothing any more.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout(limits::SILENCE, self.body.frame()).await;
            let silent = |_| Error::protocol(&"the gateway has fallen silent");
            let Some(frame) = frame.map_err(silent)? else { return Ok(None) };
            let frame = frame.map_err(|error| Error::protocol(&error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            for data in self.parser.push(&bytes)? {
                self.ready.extend(serde_json::from_slice(&data).ok());
            }
        }
    }
}

/// Takes a stream apart into the data of its events.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
}

impl Parser {
    /// The data of the events that these bytes complete.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > limits::EVENT {
                return Err(Error::protocol(&"an event is too long"));
            }
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take(line.trim_ascii_end()));
            }
        }
        Ok(events)
    }

    /// A whole line: an empty one ends an event.
    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(data);
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        // Comments, and fields that say nothing that the data does not.
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&str]) -> Vec<String> {
        let mut parser = Parser::default();
        let events = pieces.iter().flat_map(|piece| parser.push(piece.as_bytes()).unwrap());
        events.map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let stream = ": hello\n\nevent: node\ndata: {\"a\":\ndata: 1}\n\r\ndata:x\n\n\ndata: y\n";
        let wanted = ["{\"a\":\n1}", "x"];
        assert_eq!(parse(&[stream]), wanted);
        for cut in 0..stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(parse(&[head, tail]), wanted, "cut at {cut}");
        }
    }

    #[test]
    fn events_have_a_bound() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; limits::EVENT];
        parser.push(&piece).unwrap();
        assert!(parser.push(b"x").is_err());
    }
}
