//! The server's side.

use crate::command::Serve;
use crate::contexts::Contexts;
use crate::members::secured;
use crate::resources::Site;
use crate::shell::{Core, Shell, endpoint};
use crate::store::Store;
use capmesh_coap::endpoint::Config;
use capmesh_coap::security::Plain;
use capmesh_session::Workflow;
use std::io;
use std::path::Path;

type Failed = Box<dyn std::error::Error>;

/// Serves with whatever keys there are.
pub(crate) fn run(serve: &Serve) -> Result<(), Failed> {
    // Clients of this demonstration get large responses before they have proved their address.
    let config = Config { amplification: 0, ..Config::default() };
    match (serve.keys.oscore.as_slice(), &serve.keys.edhoc) {
        ([], None) => {
            let shell = Shell::bind(serve.bind, endpoint(config, Plain))?;
            announce(&shell, "plain CoAP", "")?;
            forever(shell)
        }
        ([], Some(directory)) => {
            let workflow = Workflow::Combined;
            let (core, client) = secured(directory, "server", "client", workflow, config)?;
            let shell = Shell::bind(serve.bind, core)?;
            let what = format!("CoAP with EDHOC and OSCORE for node {client}, and without");
            announce(&shell, &what, &credentials(directory, "aiocoap-client-edhoc.diag"))?;
            forever(shell)
        }
        (directories, _) => {
            let mut contexts = Contexts::default();
            for directory in directories {
                let (context, store) = Store::open(directory)?;
                contexts.add(context, Some(store), None);
            }
            let shell = Shell::bind(serve.bind, endpoint(config, contexts))?;
            let directory = directories.first().and_then(|context| context.parent());
            let credentials = directory
                .map_or_else(String::new, |d| credentials(d, "aiocoap-client-oscore.diag"));
            announce(&shell, "CoAP with OSCORE, and without", &credentials)?;
            forever(shell)
        }
    }
}

/// Says what a person needs to talk to this server.
fn announce<C: Core>(shell: &Shell<C>, what: &str, credentials: &str) -> io::Result<()> {
    let address = shell.local_address()?;
    let uri = match address.port() {
        5683 => format!("coap://{}", address.ip()),
        _ => format!("coap://{address}"),
    };
    println!("serving {what} at {uri}");
    println!("  try: aiocoap-client {credentials}{uri}/.well-known/core");
    Ok(())
}

/// aiocoap's argument for the credentials file that `coap-pair keys` wrote, if it is there.
fn credentials(directory: &Path, name: &str) -> String {
    let file = directory.join(name);
    if file.exists() { format!("--credentials {} ", file.display()) } else { String::new() }
}

fn forever<C: Core>(mut shell: Shell<C>) -> Result<(), Failed> {
    let mut site = Site::<C::Peer>::default();
    loop {
        shell.turn(&mut site, None)?;
    }
}
