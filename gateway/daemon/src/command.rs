//! The gateway as a command, for `capmesh-gatewayd` and for `capmesh gateway`.

mod systemd;

use crate::config::{Config, ConfigError, Log, LogFormat};
use crate::{Failure, start};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What a gateway is told on the command line.
///
/// What is not said there comes from the environment (`CAPMESH_GATEWAY_HTTP__LISTEN` and so on), then
/// from the file, and then is as `capmesh-gateway.example.toml` has it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Arguments {
    /// The site's directory, if it is not the configuration that says it.
    #[arg(skip)]
    pub site: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, short, env = "CAPMESH_GATEWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What it is called on the site's roster.
    #[arg(long)]
    pub name: Option<String>,
    /// Where it keeps its state.
    #[arg(long, value_name = "DIRECTORY")]
    pub state: Option<String>,
    /// Where it listens for nodes (UDP).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where the registry is (CoAP).
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub registry: Option<String>,
    /// Where the page and the API are.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<String>,
    /// What callers of the API must know; better in the environment, as CAPMESH_GATEWAY_HTTP__TOKEN.
    #[arg(long, value_name = "TOKEN")]
    pub http_token: Option<String>,
    /// The MQTT broker: embedded, none, mqtt://HOST:PORT or mqtts://HOST:PORT.
    #[arg(long, value_name = "BROKER")]
    pub mqtt: Option<String>,
    /// Where the broker inside listens.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub broker_listen: Option<String>,
    /// Where the broker inside listens for WebSockets; nowhere if empty.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub broker_websocket: Option<String>,
    /// How lines of the log look: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged: info, or warn,capmesh_gatewayd=debug.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl Arguments {
    /// What the gateway is told in all.
    ///
    /// # Errors
    /// If it is not a configuration, or would let everybody in.
    pub fn config(self) -> Result<Config, ConfigError> {
        let site = self.site.map(|site| site.to_string_lossy().into_owned());
        let flags = [
            ("name", self.name),
            ("site", site),
            ("state", self.state),
            ("listen", self.listen),
            ("registry", self.registry),
            ("http.listen", self.http),
            ("http.token", self.http_token),
            ("mqtt.broker", self.mqtt),
            ("broker.listen", self.broker_listen),
            ("broker.websocket", self.broker_websocket),
            ("log.format", self.log_format),
            ("log.filter", self.log),
        ];
        let given: Vec<_> =
            flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Config::read(self.config.as_deref(), &given)
    }
}

/// Runs the gateway of the site in this directory, as `capmesh site init` makes it, until the process is
/// told to stop (SIGTERM or SIGINT). Its log goes to standard error.
///
/// # Errors
/// [`Failure`], which has more to say than its text: what to do, and what the process should end with.
pub fn run(site: &Path, arguments: Arguments) -> anyhow::Result<()> {
    Ok(Arguments { site: Some(site.to_owned()), ..arguments }.run()?)
}

impl Arguments {
    /// Runs a gateway until the process is told to stop (SIGTERM or SIGINT).
    ///
    /// # Errors
    /// If it cannot start, or breaks down.
    pub fn run(self) -> Result<(), Failure> {
        let config = self.config()?;
        log(&config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(Failure::Machine)?.block_on(serve(config))
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let stop = |kind| signal(kind).map_err(Failure::Machine);
    let (mut terminate, mut interrupt) =
        (stop(SignalKind::terminate())?, stop(SignalKind::interrupt())?);
    let mut handle = start(config).await?;
    let addresses = handle.addresses();
    let broker = addresses.mqtt.map_or_else(|| "elsewhere".to_owned(), |at| at.to_string());
    tracing::info!(nodes = %addresses.mesh, page = %addresses.http, %broker, "started");
    systemd::notify("READY=1");
    let is_told = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = handle.ended() => false,
    };
    systemd::notify("STOPPING=1");
    handle.shutdown().await;
    if is_told {
        tracing::info!("stopped");
        return Ok(());
    }
    // Whoever supervises it starts it anew from what was durable.
    Err(Failure::Machine(std::io::Error::other("the gateway has ended by itself")))
}

/// Begins to log to standard error.
fn log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::Config(ConfigError::Filter(log.filter.clone(), error.to_string()))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn what_is_said_goes_before_what_is_usual() {
        let program = ["capmesh-gatewayd", "--http", "127.0.0.1:1", "--mqtt", "none"];
        let arguments = Program::parse_from(program).arguments;
        let config = Arguments { site: Some(PathBuf::from("here")), ..arguments }.config().unwrap();
        assert_eq!((config.http.listen.port(), config.site), (1, PathBuf::from("here")));
    }
}
