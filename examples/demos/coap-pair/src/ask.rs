//! The client's side.

use crate::client::{Client, Request, Response};
use crate::command::{Ask, Third};
use crate::shell::Core;
use crate::store::Store;
use crate::uri::Uri;
use capmesh_coap::Code;
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::{Config, Reliability};
use capmesh_coap::option::OptionNumber;
use capmesh_session::Workflow;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

type Failed = Box<dyn std::error::Error>;

/// Asks, and prints what comes back.
pub(crate) fn run(code: Code, ask: &Ask) -> Result<ExitCode, Failed> {
    let uri = Uri::parse(&ask.uri)?;
    let request = request(code, ask, uri)?;
    let address = request.uri.address;
    // A person would rather hear why a handshake failed than have it tried again and again.
    let config = Config { held_timeout: Duration::from_secs(5), ..Config::default() };
    match (ask.keys.oscore.as_slice(), &ask.keys.edhoc) {
        ([], None) => converse(Client::plain(address, config)?, address, request, ask),
        ([], Some(directory)) => {
            let workflow = match ask.third {
                Third::Combined => Workflow::Combined,
                Third::Separate => Workflow::Separate,
            };
            let (client, server) = Client::edhoc(address, config, directory, workflow)?;
            converse(client, server, request, ask)
        }
        ([directory], _) => {
            let (context, store) = Store::open(directory)?;
            let (client, server) = Client::oscore(address, config, context, Some(store))?;
            converse(client, server, request, ask)
        }
        _ => Err("a client uses one OSCORE context".into()),
    }
}

/// Sends an empty message and waits for the answer.
pub(crate) fn ping(uri: &str) -> Result<ExitCode, Failed> {
    let address = Uri::parse(uri)?.address;
    let mut client = Client::plain(address, Config::default())?;
    client.ping(address)?;
    println!("{address} answers");
    Ok(ExitCode::SUCCESS)
}

fn request(code: Code, ask: &Ask, uri: Uri) -> Result<Request, Failed> {
    let mut request = Request::new(code, uri);
    request.body = match (&ask.body, &ask.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => {
            fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        (None, None) => Vec::new(),
    };
    request.block = BlockSize::at_most(ask.block)
        .filter(|block| block.bytes() as usize == ask.block)
        .ok_or("--block is a power of two from 16 to 1024")?;
    if ask.non {
        request.reliability = Reliability::NonConfirmable;
    }
    let formats = [(OptionNumber::CONTENT_FORMAT, ask.format), (OptionNumber::ACCEPT, ask.accept)];
    for (number, format) in formats {
        if let Some(format) = format {
            let mut bytes = [0; 4];
            let value = capmesh_coap::option::encode_uint(u32::from(format), &mut bytes);
            request = request.option(number, value);
        }
    }
    Ok(request)
}

fn converse<C: Core>(
    mut client: Client<C>,
    server: C::Peer,
    request: Request,
    ask: &Ask,
) -> Result<ExitCode, Failed> {
    let Some(states) = ask.observe else {
        let response = client.request(server, &request)?;
        return show(&response, ask);
    };
    let (first, mut observation) = client.observe(server, request)?;
    let mut code = show(&first, ask)?;
    if observation.is_over() {
        return Err("the server does not let this resource be observed".into());
    }
    for _ in 1..states {
        let state = client.notification(server, &mut observation, None)?;
        code = show(&state, ask)?;
        if observation.is_over() {
            return Ok(code);
        }
    }
    client.deregister(&observation)?;
    Ok(code)
}

/// Prints the head to standard error and the body to where it is wanted. An error of the server's
/// is an error of the program's.
fn show<P>(response: &Response<P>, ask: &Ask) -> Result<ExitCode, Failed> {
    let code = response.code;
    eprint!("{code}");
    for (number, value) in &response.options {
        eprint!(" {number:?}={}", crate::store::hex(value));
    }
    eprintln!(", {} bytes", response.body.len());
    match &ask.output {
        Some(file) => fs::write(file, &response.body)
            .map_err(|error| format!("{}: {error}", file.display()))?,
        None => {
            let mut out = io::stdout().lock();
            out.write_all(&response.body)?;
            if !response.body.is_empty() && !response.body.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(if code.is_success() { ExitCode::SUCCESS } else { ExitCode::from(code.class()) })
}
