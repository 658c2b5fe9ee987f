//! This side of the pair, as the tests start it.
#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test program uses a part of this, so that no expectation fits them all"
)]

use capmesh_interop::peers::START;
use capmesh_interop::process::Process;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a conversation is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all.
    Plain,
    /// OSCORE with a context that both sides have.
    Oscore,
    /// EDHOC, message_3 with the first request.
    Combined,
    /// EDHOC, message_3 by itself.
    Separate,
}

/// The functions `everything` and `restart` of a file as a test for each [`Mode`].
#[allow(unused_macros, reason = "as above")]
macro_rules! in_every_mode {
    ($peer:literal) => {
        common::in_every_mode! { $peer
            plain: Plain;
            oscore: Oscore;
            edhoc_combined: Combined;
            edhoc_separate: Separate;
        }
    };
    ($peer:literal $($name:ident: $mode:ident;)*) => {$(
        mod $name {
            #[test]
            fn everything() {
                super::everything(concat!($peer, "-", stringify!($name)), super::Mode::$mode);
            }

            #[test]
            fn restart_of_either_side() {
                super::restart(concat!($peer, "-restart-", stringify!($name)), super::Mode::$mode);
            }
        }
    )*};
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use in_every_mode;

/// A directory with keys for everybody.
pub(crate) struct Keys {
    directory: PathBuf,
    mode: Mode,
}

impl Keys {
    /// Makes keys, with `origin` as the address that aiocoap serves at.
    pub(crate) fn new(test: &str, mode: Mode, origin: &str) -> Self {
        let directory = capmesh_interop::peers::scratch(test).join("keys");
        capmesh_coap_pair::keys::create(&directory, origin).unwrap();
        Self { directory, mode }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The credentials file that aiocoap needs as a client.
    pub(crate) fn for_aiocoap_client(&self) -> Option<PathBuf> {
        self.file(match self.mode {
            Mode::Plain => return None,
            Mode::Oscore => "aiocoap-client-oscore.diag",
            Mode::Combined => "aiocoap-client-edhoc.diag",
            Mode::Separate => "aiocoap-client-edhoc-separate.diag",
        })
    }

    /// The credentials file that aiocoap needs as a server.
    pub(crate) fn for_aiocoap_server(&self) -> Option<PathBuf> {
        self.file(match self.mode {
            Mode::Plain => return None,
            Mode::Oscore => "aiocoap-server-oscore.diag",
            Mode::Combined | Mode::Separate => "aiocoap-server-edhoc.diag",
        })
    }

    /// What our server has to be told.
    pub(crate) fn for_our_server(&self) -> Vec<PathBuf> {
        match self.mode {
            Mode::Plain => vec![],
            Mode::Oscore => vec!["--oscore".into(), self.directory.join("oscore-server")],
            Mode::Combined | Mode::Separate => vec!["--edhoc".into(), self.directory.clone()],
        }
    }

    /// What our client has to be told.
    pub(crate) fn for_our_client(&self) -> Vec<PathBuf> {
        match self.mode {
            Mode::Plain => vec![],
            Mode::Oscore => vec!["--oscore".into(), self.directory.join("oscore-client")],
            Mode::Combined => vec!["--edhoc".into(), self.directory.clone()],
            Mode::Separate => {
                vec!["--edhoc".into(), self.directory.clone(), "--third".into(), "separate".into()]
            }
        }
    }

    /// Another credentials file for aiocoap, with which it sends its credential by value.
    pub(crate) fn by_value(&self, credentials: &Path) -> PathBuf {
        let text = fs::read_to_string(credentials).unwrap();
        assert!(text.contains("by-key-id"));
        let path = self.directory.join("by-value.diag");
        fs::write(&path, text.replace("by-key-id", "by-value")).unwrap();
        path
    }

    /// Another credentials file for aiocoap's client: the server of these keys, the client of others.
    pub(crate) fn with_client_of(&self, other: &Self) -> PathBuf {
        let lines = |keys: &Self| fs::read_to_string(keys.for_aiocoap_client().unwrap()).unwrap();
        let (own, others) = (lines(self), lines(other));
        let server = own.lines().find(|line| line.contains("peer_cred")).unwrap();
        let mixed =
            others.lines().map(|line| if line.contains("peer_cred") { server } else { line });
        let path = self.directory.join("stranger.diag");
        fs::write(&path, mixed.collect::<Vec<_>>().join("\n")).unwrap();
        path
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.join(name))
    }
}

/// Starts our server at `address` and waits until it answers.
pub(crate) fn serve(address: SocketAddr, arguments: &[PathBuf]) -> Process {
    let server = Process::start(
        "coap-pair server",
        Command::new(env!("CARGO_BIN_EXE_interop-pair"))
            .args(["serve", "--bind", &address.to_string()])
            .args(arguments),
    )
    .unwrap();
    server.wait_for("serving", START).unwrap();
    server
}
