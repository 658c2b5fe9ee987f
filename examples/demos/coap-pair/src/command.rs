//! The command line.

use crate::keys;
use crate::{ask, serve};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A CoAP server and client: plain, with OSCORE, with EDHOC and OSCORE.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys for a server and a client, and files that let aiocoap take either part
    Keys {
        /// Where to write them; made if it is not there
        directory: PathBuf,
        /// Where aiocoap would serve, for its credentials file
        #[arg(long, default_value = "coap://127.0.0.1")]
        origin: String,
    },
    /// Serve until interrupted
    Serve(Serve),
    /// Ask for a resource
    Get(Ask),
    /// Replace a resource, or make it
    Put(Ask),
    /// Give a resource something to work with
    Post(Ask),
    /// Remove a resource
    Delete(Ask),
    /// See whether anybody is there (an empty confirmable message)
    Ping {
        /// Whom to ask, as in coap://127.0.0.1
        uri: String,
    },
}

/// How to serve.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Address and port to listen at; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:5683")]
    pub(crate) bind: SocketAddr,
    #[command(flatten)]
    pub(crate) keys: Keys,
}

/// What to ask for.
#[derive(Args, Debug)]
pub(crate) struct Ask {
    /// What to ask for, as in coap://127.0.0.1/hello
    pub(crate) uri: String,
    /// The request's body
    #[arg(long, conflicts_with = "file")]
    pub(crate) body: Option<String>,
    /// The file with the request's body
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Content-Format of the body, as a number
    #[arg(long)]
    pub(crate) format: Option<u16>,
    /// Content-Format that is wanted, as a number
    #[arg(long)]
    pub(crate) accept: Option<u16>,
    /// The largest block to send or ask for, in bytes
    #[arg(long, default_value_t = 1024)]
    pub(crate) block: usize,
    /// Write the response's body to this file instead of printing it
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
    /// Observe: print this many states, then deregister
    #[arg(long)]
    pub(crate) observe: Option<u32>,
    /// Do not insist on an acknowledgement
    #[arg(long)]
    pub(crate) non: bool,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// With EDHOC: how to send message_3
    #[arg(long, value_enum, default_value_t = Third::Combined, requires = "edhoc")]
    pub(crate) third: Third,
}

/// Where the keys are; none mean plain CoAP.
#[derive(Args, Debug)]
pub(crate) struct Keys {
    /// Use OSCORE with the context in this directory (aiocoap's format); a server may have several
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "edhoc")]
    pub(crate) oscore: Vec<PathBuf>,
    /// Use EDHOC, then OSCORE, with the keys that `coap-pair keys` made in this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) edhoc: Option<PathBuf>,
}

/// How EDHOC's message_3 travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Third {
    /// With the first request (RFC 9668)
    Combined,
    /// By itself, before the first request
    Separate,
}

/// The program: does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    main_with(std::env::args_os().skip(1))
}

/// The program with these arguments, for programs that contain it.
#[must_use]
pub fn main_with(arguments: impl IntoIterator<Item: Into<OsString>>) -> ExitCode {
    let arguments = arguments.into_iter().map(Into::into);
    let arguments = std::iter::once("coap-pair".into()).chain(arguments);
    run(Arguments::parse_from(arguments)).unwrap_or_else(|error| {
        eprintln!("coap-pair: {error}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match arguments.command {
        Command::Keys { directory, origin } => {
            keys::create(&directory, &origin)?;
            let shown = directory.display();
            println!("wrote {shown}; now, for example:");
            println!("  coap-pair serve --edhoc {shown}");
            println!("  coap-pair get --edhoc {shown} coap://127.0.0.1/whoami");
            println!(
                "  aiocoap-client --credentials {shown}/aiocoap-client-edhoc.diag coap://127.0.0.1/whoami"
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(serve) => serve::run(&serve).map(|()| ExitCode::SUCCESS),
        Command::Get(ask) => ask::run(capmesh_coap::Code::GET, &ask),
        Command::Put(ask) => ask::run(capmesh_coap::Code::PUT, &ask),
        Command::Post(ask) => ask::run(capmesh_coap::Code::POST, &ask),
        Command::Delete(ask) => ask::run(capmesh_coap::Code::DELETE, &ask),
        Command::Ping { uri } => ask::ping(&uri),
    }
}
