extern crate std;

use super::*;
use crate::block::{BlockSize, Download, DownloadStep, Upload, UploadStep};
use crate::echo::EchoKey;
use crate::endpoint::{Config, Endpoint, Event, Output, Reliability, Via};
use crate::option::OptionNumber;
use crate::security::Plain;
use crate::server::{Route, Server, ServerConfig};
use crate::{Code, Message, MessageWriter};
use capmesh_wire::Instant;
use coap_handler::{Attribute, Handler};
use coap_handler_implementations::wkc::NotReporting;
use coap_handler_implementations::{
    Error, GetRenderable, HandlerBuilder, PutRenderable, SimpleRendered, TypeHandler,
    new_dispatcher, with_get_put,
};
use coap_message::{Code as _, MinimalWritableMessage, MutableWritableMessage, ReadableMessage};
use core::convert::Infallible;
use core::net::SocketAddr;
use std::vec::Vec;

type Side = Endpoint<Plain, 1280, 4, 5136, 4, 4, 16, 4608>;

/// A number that is kept in CBOR.
struct Number(u32);

impl GetRenderable for &mut Number {
    type Get = u32;

    fn get(&mut self) -> Result<u32, Error> {
        Ok(self.0)
    }
}

impl PutRenderable for &mut Number {
    type Put = u32;

    fn put(&mut self, representation: &u32) -> Result<(), Error> {
        self.0 = *representation;
        Ok(())
    }
}

/// Takes what is posted.
struct Sink<'s>(&'s mut Vec<u8>);

impl Handler for Sink<'_> {
    type RequestData = ();
    type ExtractRequestError = Infallible;
    type BuildResponseError<M: MinimalWritableMessage> = Infallible;

    fn extract_request_data<M: ReadableMessage>(&mut self, request: &M) -> Result<(), Infallible> {
        self.0.extend_from_slice(request.payload());
        Ok(())
    }

    fn estimate_length(&mut self, (): &()) -> usize {
        0
    }

    fn build_response<M: MutableWritableMessage>(
        &mut self,
        response: &mut M,
        (): (),
    ) -> Result<(), Infallible> {
        response.set_code(M::Code::new(Code::CHANGED.0).unwrap_or_else(|_| panic!("no such code")));
        Ok(())
    }
}

const LONG: &str = "All that is gold does not glitter, not all those who wander are lost; the old \
                    that is strong does not wither, deep roots are not reached by the frost.";

/// A client and a server with nothing between them.
struct Pair {
    client: Side,
    endpoint: Side,
    server: Server<SocketAddr, 2, 2, 1024>,
    number: Number,
    sink: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let config = Config { amplification: 0, ..Config::default() };
        let server = ServerConfig { block: BlockSize::at_most(64).unwrap(), ..Default::default() };
        Self {
            client: Endpoint::new(config, Plain, [1; 16]),
            endpoint: Endpoint::new(config, Plain, [2; 16]),
            server: Server::new(server, EchoKey::new([3; 16])),
            number: Number(7),
            sink: Vec::new(),
        }
    }

    fn ask(&mut self, code: Code, build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let (client, server) = ("[::1]:1".parse().unwrap(), "[::2]:1".parse().unwrap());
        let (mut buf, mut scratch, mut out) = ([0; 1280], [0; 1280], [0; 1280]);
        let handler = new_dispatcher()
            .at_with_attributes(
                &["hello"],
                &[Attribute::Ct(0), Attribute::Title("greeting")],
                SimpleRendered("hello"),
            )
            .at(&["a", "long"], SimpleRendered(LONG))
            .at(&["sink"], NotReporting::new(Sink(&mut self.sink)))
            .at_with_attributes(
                &["n"],
                &[],
                TypeHandler::new_minicbor_2(with_get_put(&mut self.number)),
            );
        let mut mounted = Reported { handler, observable: false };
        let mut routes = [Route::below("ch/v0", &mut mounted)];
        let request =
            self.client.request(Instant::ZERO, server, Reliability::Confirmable, code, |w| {
                build(w);
                Ok(())
            });
        request.unwrap();
        let Some(Output::Transmit { len, .. }) = self.client.poll(Instant::ZERO, &mut buf) else {
            panic!("a request was to go")
        };
        let request = &buf[..len];
        let event = self
            .endpoint
            .handle(Instant::ZERO, client, Via::Unicast, request, &mut scratch)
            .unwrap();
        self.server.handle(Instant::ZERO, &mut self.endpoint, &mut routes, event, &mut out);
        let Some(Output::Transmit { len, .. }) = self.endpoint.poll(Instant::ZERO, &mut out) else {
            panic!("a response was to come")
        };
        let response = &out[..len];
        match self.client.handle(Instant::ZERO, server, Via::Unicast, response, &mut scratch) {
            Some(Event::Response { message, .. }) => message.as_bytes().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, path: &str) -> (Code, Vec<u8>) {
        let response = self.ask(Code::GET, |writer| {
            writer.path(path).unwrap();
        });
        let message = Message::parse(&response).unwrap();
        (message.code(), message.payload().to_vec())
    }
}

#[test]
fn a_handler_answers_below_its_path() {
    let mut pair = Pair::new();
    assert_eq!(pair.get("ch/v0/hello"), (Code::CONTENT, b"hello".to_vec()));
    assert_eq!(pair.get("ch/v0/nothing").0, Code::NOT_FOUND);
    assert_eq!(pair.get("ch/v0").0, Code::NOT_FOUND);
    assert_eq!(pair.get("hello").0, Code::NOT_FOUND);
    let response = pair.ask(Code::DELETE, |writer| {
        writer.path("ch/v0/hello").unwrap();
    });
    assert_eq!(Message::parse(&response).unwrap().code(), Code::METHOD_NOT_ALLOWED);
}

#[test]
fn it_judges_options_by_itself() {
    let mut pair = Pair::new();
    for (number, code) in [(65001, Code::BAD_OPTION), (65000, Code::CONTENT)] {
        let response = pair.ask(Code::GET, |writer| {
            writer.path("ch/v0/hello").unwrap().option(OptionNumber(number), &[]).unwrap();
        });
        assert_eq!(Message::parse(&response).unwrap().code(), code);
    }
}

#[test]
fn it_renders_blocks_by_itself() {
    let mut pair = Pair::new();
    let mut download = Download::new(1_000, BlockSize::MAX);
    let mut body = Vec::new();
    loop {
        let response = pair.ask(Code::GET, |writer| {
            writer.path("ch/v0/a/long").unwrap();
            download.write(writer).unwrap();
        });
        match download.handle(&Message::parse(&response).unwrap()) {
            DownloadStep::Part { payload, more, .. } => {
                body.extend_from_slice(payload);
                if !more {
                    break;
                }
                assert!(payload.len() <= 128);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(body, LONG.as_bytes());
}

#[test]
fn it_gets_bodies_whole() {
    let mut pair = Pair::new();
    assert_eq!(pair.get("ch/v0/n"), (Code::CONTENT, std::vec![7]));
    let response = pair.ask(Code::PUT, |writer| {
        writer.path("ch/v0/n").unwrap().payload(&[0x1a, 0, 1, 0, 0]).unwrap();
    });
    assert_eq!(Message::parse(&response).unwrap().code(), Code::CHANGED);
    assert_eq!(pair.number.0, 65536);

    let body = LONG.as_bytes();
    let mut upload = Upload::of(body, BlockSize::MIN);
    loop {
        let response = pair.ask(Code::POST, |writer| {
            writer.path("ch/v0/sink").unwrap();
            upload.write(writer, body).unwrap();
        });
        let message = Message::parse(&response).unwrap();
        match upload.handle(&message) {
            UploadStep::Next => assert!(pair.sink.is_empty()),
            UploadStep::Done => break assert_eq!(message.code(), Code::CHANGED),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pair.sink, body);
}

#[test]
fn discovery_lists_its_records() {
    let mut pair = Pair::new();
    let (code, links) = pair.get(".well-known/core");
    assert_eq!(code, Code::CONTENT);
    let links = std::string::String::from_utf8(links).unwrap();
    assert!(links.contains("</ch/v0/hello>;title=\"greeting\";ct=0"), "{links}");
}

#[test]
fn the_writer_keeps_the_promises_of_its_traits() {
    let mut buf = [0; 40];
    let mut writer = MessageWriter::new(
        &mut buf,
        crate::Kind::Confirmable,
        Code::CONTENT,
        1,
        crate::Token::EMPTY,
    )
    .unwrap();
    writer.add_option(4, &[1, 2]).unwrap();
    writer.add_option(12, &[]).unwrap();
    writer.add_option(23, &[3]).unwrap();
    assert_eq!(writer.available_space(), 40 - 4 - 3 - 1 - 2);
    let room = writer.payload_mut_with_len(1_000).unwrap().len();
    assert_eq!(room, 29, "as much as there is behind the marker");
    writer.payload_mut_with_len(2).unwrap().copy_from_slice(b"hi");
    assert!(writer.truncate(30).is_err());
    writer.truncate(2).unwrap();
    writer.mutate_options(|number, value| {
        if number == 23 {
            value[0] = 9;
        }
    });
    let message = writer.as_message();
    let mut options = message.options();
    assert_eq!(ReadableMessage::payload(&message), b"hi");
    assert_eq!(options.next(), Some((OptionNumber::ETAG, &[1, 2][..])));
    assert_eq!(options.next(), Some((OptionNumber::CONTENT_FORMAT, &[][..])));
    assert_eq!(options.next(), Some((OptionNumber::BLOCK2, &[9][..])));
    writer.truncate(0).unwrap();
    assert_eq!(writer.as_message().as_bytes().len(), 10, "no marker without a payload");
    writer.clear();
    assert_eq!(writer.finish(), 4);
}
