//! The registry as a command, for `capmesh-registry` and for `capmesh registry`.

use crate::{Config, start};
use anyhow::{Context, Result, anyhow, bail, ensure};
use capmesh_keyfile::Key;
use capmesh_registry_store::Checker;
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::PublicKey;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Keeps the capsules of a site: serves them to nodes over CoAP with OSCORE, and to people's tools by
/// the OCI distribution API.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The registry's name on the roster; its key is `keys/NAME.pem` in the site's directory.
    #[arg(long, default_value = "registry")]
    pub name: String,
    /// The site's public key: a credential (CCS) in a file. Otherwise it is taken from
    /// `keys/site.pem`.
    #[arg(long)]
    pub site_key: Option<PathBuf>,
    /// Where the capsules are kept.
    #[arg(long, default_value = "registry")]
    pub state: PathBuf,
    /// Where nodes and gateways reach it (UDP).
    #[arg(long, default_value = "127.0.0.1:5685")]
    pub listen: SocketAddr,
    /// Where people's tools reach it (HTTP).
    #[arg(long, default_value = "127.0.0.1:5050")]
    pub http: SocketAddr,
    /// Say capsules to all nodes at once on this IEEE 802.15.4 interface (lowpan0, say), by multicast, when one of
    /// them asks for it; without it, each fetches them for itself
    #[arg(long, value_name = "NAME", env = "CAPMESH_REGISTRY_RADIO")]
    pub radio: Option<String>,
    /// What has to be known to push from elsewhere than the loopback.
    #[arg(long, env = "CAPMESH_REGISTRY_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub push_token: Option<String>,
    /// Megabytes that capsules may take.
    #[arg(long, default_value_t = 1_024)]
    pub quota: u64,
    /// Hours for which a blob is kept that nothing refers to.
    #[arg(long, default_value_t = 24)]
    pub grace: u64,
    /// Whether it says as JSON where it is.
    #[arg(skip)]
    pub json: bool,
}

/// Runs the registry of the site in this directory, as `capmesh site init` makes it, until the process
/// is told to stop (SIGTERM or SIGINT). Its log goes to standard error.
///
/// # Errors
/// If it cannot start.
pub fn run(site: &Path, arguments: Arguments, checker: Arc<dyn Checker>) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let json = arguments.json;
    let config = config(site, arguments, checker)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let registry = start(config).await?;
        // Whoever has heard enough may close the pipe: the registry goes on.
        let (mesh, http, id) = (registry.mesh(), registry.http(), registry.id());
        let _ = if json {
            let at = serde_json::json!({ "listening": mesh, "http": http, "node": id.to_string() });
            writeln!(std::io::stdout(), "{at}")
        } else {
            writeln!(std::io::stdout(), "listening {mesh}\nhttp {http}\nnode {id}")
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        registry.stop().await;
        Ok(())
    })
}

fn config(site: &Path, arguments: Arguments, checker: Arc<dyn Checker>) -> Result<Config> {
    let path = site.join("keys").join(format!("{}.pem", arguments.name));
    let help = "`capmesh site add NAME --role registry` puts a registry on the roster, `--name` says which \
                one this is";
    ensure!(path.exists(), "{} is not there\n  help: {help}", path.display());
    let key = Key::read(&path)?;
    let credential = key.credential(&arguments.name).context("--name")?;
    let credential = Credential::parse(&credential)?;
    let identity = Identity::new(&key.scalar(), credential).context("the registry's key")?;
    let site_key = match &arguments.site_key {
        Some(path) => read_credential(path)?,
        None => Key::read(&site.join("keys/site.pem"))?.public(),
    };
    let path = site.join("roster");
    let roster = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let Some(quota) = arguments.quota.checked_mul(1 << 20) else { bail!("--quota is too large") };
    Ok(Config {
        state: Some(arguments.state),
        listen: arguments.listen,
        http: arguments.http,
        radio: arguments.radio,
        token: arguments.push_token,
        quota,
        grace: Duration::from_secs(arguments.grace.saturating_mul(3_600)),
        ..Config::new(identity, site_key, roster, checker)
    })
}

fn read_credential(path: &Path) -> Result<PublicKey> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let credential = capmesh_wire::Credential::parse(&bytes)
        .map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(credential.public_key())
}
