//! The server's side.

use crate::command::Serve;
use crate::contexts::Contexts;
use crate::resources::{Asker, Site};
use crate::shell::Shell;
use crate::store::Store;
use capmesh_coap::endpoint::Config;
use capmesh_coap::security::{Plain, Security};
use std::io;
use std::path::Path;

type Failed = Box<dyn std::error::Error>;

/// Serves with whatever keys there are.
pub(crate) fn run(serve: &Serve) -> Result<(), Failed> {
    // Clients of this demonstration get large responses before they have proved their address.
    let config = Config { amplification: 0, ..Config::default() };
    match (serve.keys.oscore.as_slice(), &serve.keys.edhoc) {
        ([], None) => {
            let shell = Shell::bind(serve.bind, config, Plain)?;
            announce(&shell, "plain CoAP", "")?;
            forever(shell)
        }
        ([], Some(_directory)) => Err("EDHOC".into()),
        (directories, _) => {
            let mut contexts = Contexts::default();
            for directory in directories {
                let (context, store) = Store::open(directory)?;
                contexts.add(context, Some(store), None);
            }
            let shell = Shell::bind(serve.bind, config, contexts)?;
            let credentials = sibling(directories, "aiocoap-client-oscore.diag");
            announce(&shell, "CoAP with OSCORE, and without", &credentials)?;
            forever(shell)
        }
    }
}

/// Says what a person needs to talk to this server.
fn announce<S: Security>(shell: &Shell<S>, what: &str, credentials: &str) -> io::Result<()> {
    let address = shell.local_address()?;
    let uri = match address.port() {
        5683 => format!("coap://{}", address.ip()),
        _ => format!("coap://{address}"),
    };
    println!("serving {what} at {uri}");
    println!("  try: aiocoap-client {credentials}{uri}/.well-known/core");
    Ok(())
}

/// The credentials file that `coap-pair keys` wrote beside a context, if it is there.
fn sibling(directories: &[std::path::PathBuf], name: &str) -> String {
    let file = directories.first().and_then(|context| Path::parent(context)).map(|p| p.join(name));
    file.filter(|file| file.exists())
        .map_or_else(String::new, |file| format!("--credentials {} ", file.display()))
}

fn forever<S: Security<Peer: Asker>>(mut shell: Shell<S>) -> Result<(), Failed> {
    let mut site = Site::<S::Peer>::default();
    loop {
        shell.turn(&mut site, None)?;
    }
}
