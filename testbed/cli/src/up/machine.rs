//! What runs in this process: the registry, and the gateway with its broker.

use super::{GATEWAY, REGISTRY, Up, examples, local};
use crate::Failure;
use crate::commands::Admission;
use crate::site::Site;
use anyhow::{Result, anyhow};
use capmesh_gatewayd::What;
use capmesh_registry::StartError;
use std::io::ErrorKind;
use std::sync::Arc;

pub(super) async fn registry(up: &Up, site: &Site) -> Result<capmesh_registry::Handle> {
    let identity = site.identity(REGISTRY)?;
    let key = site.key("site")?.public();
    let checker = Arc::new(Admission);
    let config = capmesh_registry::Config {
        state: Some(up.state.join("registry")),
        listen: local(0),
        http: local(up.oci),
        ..capmesh_registry::Config::new(identity, key, site.roster().to_vec(), checker)
    };
    capmesh_registry::start(config).await.map_err(|error| match error {
        StartError::Listen(address, ref why) if why.kind() == ErrorKind::AddrInUse => {
            let failure = Failure::new("conflict", format!("registry: {error}"));
            failure.help(taken(address.port(), "--oci", "-ltnp")).into()
        }
        error => anyhow!("registry: {error}"),
    })
}

/// Puts the example capsules into the registry, each under its own name and version. Returns how many.
pub(super) fn push(registry: &capmesh_registry::Handle) -> Result<usize> {
    let capsules = examples::capsules()?;
    for capsule in &capsules {
        let manifest = capsule.manifest().map_err(|error| anyhow!("{error}"))?;
        let (name, tag) = (manifest.name, manifest.capsule.version);
        registry
            .push(name, tag, capsule.envelope(), capsule.module())
            .map_err(|refusal| anyhow!("{name}:{tag}: {refusal}"))?;
    }
    Ok(capsules.len())
}

pub(super) async fn gateway(
    up: &Up,
    registry: std::net::SocketAddr,
) -> Result<capmesh_gatewayd::Handle> {
    let mut config = capmesh_gatewayd::Config {
        name: GATEWAY.to_owned(),
        site: up.state.join("site"),
        state: Some(up.state.join("gateway")),
        listen: local(up.coap),
        members: 64,
        registry: Some(registry),
        ..capmesh_gatewayd::Config::default()
    };
    config.http.listen = local(up.http);
    config.broker.listen = local(up.mqtt);
    config.broker.websocket = Some(local(up.websocket));
    if let Some(broker) = &up.broker {
        config.mqtt.broker = broker.clone();
    }
    capmesh_gatewayd::start(config).await.map_err(|failure| match taken_of(up, &failure) {
        Some(help) => Failure::new("conflict", failure.to_string()).help(help).into(),
        None => failure.into(),
    })
}

/// What to do if a port of the gateway is taken, in this command's words.
fn taken_of(up: &Up, failure: &capmesh_gatewayd::Failure) -> Option<String> {
    let capmesh_gatewayd::Failure::Listen { what, address, error } = failure else { return None };
    if error.kind() != ErrorKind::AddrInUse {
        return None;
    }
    let port = address.port();
    let (flag, sockets) = match what {
        What::Nodes => ("--coap", "-lunp"),
        What::Http => ("--http", "-ltnp"),
        What::Mqtt if port == up.websocket => ("--websocket", "-ltnp"),
        What::Mqtt => ("--mqtt", "-ltnp"),
    };
    Some(taken(port, flag, sockets))
}

fn taken(port: u16, flag: &str, sockets: &str) -> String {
    format!(
        "another program has port {port}, perhaps another `up`: `ss {sockets} 'sport = {port}'` says \
         which\n  take another port with {flag} PORT, or for all of them any that is free: --http 0 \
         --mqtt 0 --websocket 0 --oci 0 --coap 0"
    )
}

/// How this program was called, for examples of what to type next.
pub(super) fn own_name() -> String {
    std::env::args().next().unwrap_or_else(|| "capmesh".to_owned())
}
