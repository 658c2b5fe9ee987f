//! The servers that are compared. Each answers a GET with the same 18 bytes.

use crate::load::Protection;
use capmesh_coap_pair::client::{Client, Request};
use capmesh_coap_pair::store;
use capmesh_coap_pair::uri::Uri;
use capmesh_interop::peers::{Aiocoap, Libcoap, START, free_port, own_address, scratch};
use capmesh_interop::process::Process;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

type Failed = Box<dyn std::error::Error>;

/// What every server answers with; aiocoap's calls itself by its own name, of the same length.
pub(crate) const GREETING: &[u8] = b"hello from capmesh";

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contender {
    OursOscore,
    OursPlain,
    LibcoapPlain,
    AiocoapOscore,
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) protection: Protection,
}

impl Contender {
    pub(crate) const ALL: [Self; 4] =
        [Self::OursOscore, Self::OursPlain, Self::LibcoapPlain, Self::AiocoapOscore];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OursOscore => "capmesh, OSCORE",
            Self::OursPlain => "capmesh, plain",
            Self::LibcoapPlain => "libcoap 4.3, plain",
            Self::AiocoapOscore => "aiocoap, OSCORE",
        }
    }

    /// More requests than the server can answer in a second.
    pub(crate) const fn most_per_second(self) -> usize {
        match self {
            Self::AiocoapOscore => 10_000,
            _ => 300_000,
        }
    }

    /// Starts the server on whatever core this thread is on; `None` if it is not installed.
    pub(crate) fn start(self) -> Result<Option<Running>, Failed> {
        let address = SocketAddr::from((own_address(), 5683));
        Ok(match self {
            Self::OursOscore => {
                let keys = keys("ours")?;
                let server = keys.join("oscore-server");
                let process = ours(address, &["--oscore".into(), server])?;
                Some(Running { process, address, protection: protection(&keys)? })
            }
            Self::OursPlain => {
                let process = ours(address, &[])?;
                Some(Running { process, address, protection: Protection::Plain })
            }
            Self::LibcoapPlain => libcoap()?,
            Self::AiocoapOscore => {
                let Some(aiocoap) = Aiocoap::find() else { return Ok(None) };
                let keys = keys("aiocoap")?;
                let credentials = keys.join("aiocoap-server-oscore.diag");
                let process = aiocoap.serve(address, Some(&credentials))?;
                Some(Running { process, address, protection: protection(&keys)? })
            }
        })
    }
}

fn keys(name: &str) -> Result<PathBuf, Failed> {
    let directory = scratch(&format!("bench-{name}")).join("keys");
    capmesh_coap_pair::keys::create(&directory, "coap://unused")?;
    Ok(directory)
}

/// The client's end of the context that the server was given.
fn protection(keys: &Path) -> Result<Protection, Failed> {
    let secret = fs::read_to_string(keys.join("oscore-client/secret.json"))?;
    let secret: serde_json::Value = serde_json::from_str(&secret)?;
    let bytes = |name: &str| secret.get(name).and_then(|v| v.as_str()).and_then(store::unhex);
    let (Some(secret), Some(salt)) = (bytes("secret_hex"), bytes("salt_hex")) else {
        return Err("the context has no secret".into());
    };
    Ok(Protection::Oscore { secret, salt })
}

/// This program, as a server of the example.
fn ours(address: SocketAddr, arguments: &[PathBuf]) -> Result<Process, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--pair", "serve", "--bind", &address.to_string()]).args(arguments);
    let process = Process::start("capmesh server", &mut command)?;
    process.wait_for("serving", START)?;
    Ok(process)
}

fn libcoap() -> Result<Option<Running>, Failed> {
    let Some(libcoap) = Libcoap::find() else { return Ok(None) };
    let address = free_port(own_address());
    let process = libcoap.serve(address, 1)?;
    let uri = Uri::parse(&format!("coap://{address}/hello"))?;
    let put = Request::new(capmesh_coap::Code::PUT, uri).body(GREETING.to_vec());
    Client::plain(address, capmesh_coap::endpoint::Config::default())?.request(address, &put)?;
    Ok(Some(Running { process, address, protection: Protection::Plain }))
}
