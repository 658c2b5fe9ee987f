//! What runs in this process: the registry, and the gateway with its broker.

use super::{GATEWAY, REGISTRY, Up, examples, local};
use crate::commands::Admission;
use crate::site::Site;
use anyhow::{Result, anyhow};
use capmesh_gatewayd::config::Target;
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
    capmesh_registry::start(config)
        .await
        .map_err(|error| anyhow!("{error}\n  another port: --oci PORT"))
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
        config.mqtt.broker =
            Target::try_from(broker.clone()).map_err(|error| anyhow!("--broker: {error}"))?;
    }
    capmesh_gatewayd::start(config).await.map_err(|failure| {
        let help = failure.help().map(|help| format!("\n  {help}")).unwrap_or_default();
        anyhow!("{failure}{help}\n  other ports: --http, --mqtt, --websocket and --coap PORT")
    })
}

/// How this program was called, for examples of what to type next.
pub(super) fn own_name() -> String {
    std::env::args().next().unwrap_or_else(|| "capmesh".to_owned())
}
