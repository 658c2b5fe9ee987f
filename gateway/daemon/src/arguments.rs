//! The command line.

use capmesh_gatewayd::{Config, ConfigError};
use clap::Parser;
use std::path::PathBuf;

/// Runs the gateway of a site: it keeps the site's nodes, decides what runs where, and carries values to
/// an MQTT broker.
///
/// What is not said here comes from the environment (CAPMESH_GATEWAY_HTTP__LISTEN and so on), then from
/// the file, and then is as capmesh-gateway.example.toml has it.
///
/// Exit codes: 0 it was told to stop; 1 it could not start or broke down; 2 it was told something wrong.
#[derive(Debug, Parser)]
#[command(name = "capmesh-gatewayd", version, verbatim_doc_comment, args_override_self = true)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, short, env = "CAPMESH_GATEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// What it is called on the site's roster.
    #[arg(long)]
    name: Option<String>,
    /// The site's directory.
    #[arg(long, value_name = "DIRECTORY")]
    site: Option<String>,
    /// Where it keeps its state.
    #[arg(long, value_name = "DIRECTORY")]
    state: Option<String>,
    /// Where it listens for nodes (UDP).
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where the registry is (CoAP).
    #[arg(long, value_name = "ADDRESS:PORT")]
    registry: Option<String>,
    /// Where the page and the API are.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// The MQTT broker: embedded, none, mqtt://HOST:PORT or mqtts://HOST:PORT.
    #[arg(long, value_name = "BROKER")]
    mqtt: Option<String>,
    /// Where the broker inside listens.
    #[arg(long, value_name = "ADDRESS:PORT")]
    broker_listen: Option<String>,
    /// Where the broker inside listens for WebSockets; nowhere if empty.
    #[arg(long, value_name = "ADDRESS:PORT")]
    broker_websocket: Option<String>,
    /// How lines of the log look: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// What is logged: info, or warn,capmesh_gatewayd=debug.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Arguments {
    /// What the gateway is told in all.
    pub(crate) fn config(self) -> Result<Config, ConfigError> {
        let flags = [
            ("name", self.name),
            ("site", self.site),
            ("state", self.state),
            ("listen", self.listen),
            ("registry", self.registry),
            ("http.listen", self.http),
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let arguments = ["capmesh-gatewayd", "--http", "127.0.0.1:1", "--mqtt", "none"];
        let config = Arguments::parse_from(arguments).config().unwrap();
        assert_eq!(config.http.listen.port(), 1);
    }
}
