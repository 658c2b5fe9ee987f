//! What a gateway is told.
//!
//! A value comes from the first of these that has it: the command line, the environment
//! (`CAPMESH_GATEWAY_HTTP__LISTEN` for `http.listen`), the file, what is usual. The file that comes with
//! the program, `capmesh-gateway.example.toml`, explains every value.

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The prefix of the environment's variables.
const ENVIRONMENT: &str = "CAPMESH_GATEWAY_";

/// Everything that a gateway is told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What it is called on the site's roster. Its key is `keys/NAME.pem` in the site's directory.
    pub name: String,
    /// The site's directory.
    pub site: PathBuf,
    /// Where it keeps its state; `NAME` in the site's directory if absent.
    pub state: Option<PathBuf>,
    /// Where it listens for nodes (UDP).
    pub listen: SocketAddr,
    /// How many members its tables are made for.
    pub members: u32,
    /// The registry's CoAP address.
    pub registry: Option<SocketAddr>,
    /// Those of registries that are elsewhere, by their names on the roster.
    pub registries: BTreeMap<String, SocketAddr>,
    /// The MQTT broker.
    pub mqtt: Mqtt,
    /// The broker inside.
    pub broker: Broker,
    /// The page and the API.
    pub http: Http,
    /// What is logged.
    pub log: Log,
}

/// The MQTT broker that values go to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// `embedded`, `none`, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
    pub broker: Target,
    /// The user, if the broker asks for one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the certificates that are trusted (PEM); those of the machine if absent.
    pub ca: Option<PathBuf>,
    /// A file with the gateway's certificate (PEM), if the broker asks for one.
    pub certificate: Option<PathBuf>,
    /// A file with its key (PEM).
    pub key: Option<PathBuf>,
}

/// Which broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// The one inside.
    #[default]
    Embedded,
    /// None.
    None,
    /// Another one.
    External {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// Whether the line is encrypted.
        tls: bool,
    },
}

/// The broker inside.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it listens for WebSockets; nowhere if empty.
    #[serde(deserialize_with = "address_or_nothing")]
    pub websocket: Option<SocketAddr>,
    /// The user that clients must name.
    pub user: Option<String>,
    /// The password that they must know.
    pub password: Option<Secret>,
}

/// The page and the API.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What callers must know (`Authorization: Bearer ...`).
    pub token: Option<Secret>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What: `info`, or `warn,capmesh_gatewayd=debug`.
    pub filter: String,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Why a configuration is not one.
#[derive(Debug)]
pub enum ConfigError {
    /// A value is missing, unknown or of another kind.
    Value(Box<figment::Error>),
    /// There is no such file.
    NoFile(PathBuf),
    /// It would listen to everybody without asking who they are: for what, where, and how to have it ask.
    Open {
        /// What listens.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What would help.
        help: &'static str,
    },
    /// What is to be logged is not understood, and why.
    Filter(String, String),
    /// Two values do not go together.
    Contradiction(&'static str),
    /// Nobody on the roster is a registry of this name; those that are.
    NoRegistry(String, Vec<String>),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "gateway".to_owned(),
            site: PathBuf::from("site"),
            state: None,
            listen: SocketAddr::from(([0; 16], 5683)),
            members: 256,
            registry: None,
            registries: BTreeMap::new(),
            mqtt: Mqtt::default(),
            broker: Broker::default(),
            http: Http::default(),
            log: Log::default(),
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            broker: Target::Embedded,
            user: None,
            password: None,
            ca: None,
            certificate: None,
            key: None,
        }
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            websocket: Some(SocketAddr::from(([127, 0, 0, 1], 8083))),
            user: None,
            password: None,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), token: None }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Config {
    /// Reads a configuration. `flags` are pairs of a value's name and what the command line says.
    ///
    /// # Errors
    /// If it is not one, or would let everybody in.
    pub fn read(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.exists() {
                return Err(ConfigError::NoFile(file.to_owned()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed(ENVIRONMENT).ignore(&["config"]).split("__"));
        for (name, value) in flags {
            figment = figment.merge((*name, value));
        }
        let config: Self =
            figment.extract().map_err(|error| ConfigError::Value(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what no single value says.
    ///
    /// # Errors
    /// If it would let everybody in, or contradicts itself.
    pub fn check(&self) -> Result<(), ConfigError> {
        if cfg!(not(feature = "broker")) && self.mqtt.broker == Target::Embedded {
            return Err(ConfigError::Contradiction(
                "this program was built without a broker inside: name one in `mqtt.broker`, or `none`",
            ));
        }
        let is_open = |address: &SocketAddr| !address.ip().is_loopback();
        if is_open(&self.http.listen) && self.http.token.is_none() {
            let help = "set `http.token` (CAPMESH_GATEWAY_HTTP__TOKEN), or listen at 127.0.0.1";
            let (what, address) = ("the API", self.http.listen);
            return Err(ConfigError::Open { what, address, help });
        }
        if self.mqtt.broker == Target::Embedded && self.broker.credentials().is_none() {
            let addresses = [Some(self.broker.listen), self.broker.websocket];
            if let Some(address) = addresses.into_iter().flatten().find(is_open) {
                let help = "set `broker.user` and `broker.password` \
                            (CAPMESH_GATEWAY_BROKER__PASSWORD), or listen at 127.0.0.1";
                return Err(ConfigError::Open { what: "the MQTT broker", address, help });
            }
        }
        if self.mqtt.certificate.is_some() != self.mqtt.key.is_some() {
            return Err(ConfigError::Contradiction(
                "`mqtt.certificate` and `mqtt.key` go together",
            ));
        }
        if self.broker.user.is_some() != self.broker.password.is_some() {
            return Err(ConfigError::Contradiction(
                "`broker.user` and `broker.password` go together",
            ));
        }
        if self.mqtt.password.is_some() && self.mqtt.user.is_none() {
            return Err(ConfigError::Contradiction("`mqtt.password` needs `mqtt.user`"));
        }
        Ok(())
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| self.site.join(&self.name))
    }
}

impl Broker {
    /// User and password, if clients are asked for them.
    #[must_use]
    pub fn credentials(&self) -> Option<(String, Secret)> {
        self.user.clone().zip(self.password.clone())
    }
}

impl Secret {
    /// Keeps a text from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (scheme, rest) = match text.as_str() {
            "embedded" => return Ok(Self::Embedded),
            "none" => return Ok(Self::None),
            text => text.split_once("://").ok_or_else(|| not_a_broker(text))?,
        };
        let (tls, usual) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return Err(not_a_broker(&text)),
        };
        if rest.contains('@') {
            // The text is not repeated: it has a password.
            return Err(
                "user and password stand in `mqtt.user` and `mqtt.password`, not in the address"
                    .into(),
            );
        }
        let rest = rest.trim_end_matches('/');
        // An IPv6 address stands in brackets, so that its colons are not taken for the port's.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
            }
            _ => (rest, usual),
        };
        if host.is_empty() || host.contains('/') {
            return Err(not_a_broker(&text));
        }
        Ok(Self::External { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::None => f.write_str("none"),
            Self::External { host, port, tls } => {
                let scheme = if *tls { "mqtts" } else { "mqtt" };
                write!(f, "{scheme}://{host}:{port}")
            }
        }
    }
}

fn not_a_broker(text: &str) -> String {
    format!(
        "`{text}` is not a broker: `embedded`, `none`, `mqtt://HOST:PORT` or `mqtts://HOST:PORT`"
    )
}

fn address_or_nothing<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = |text: &str| text.parse().map_err(serde::de::Error::custom);
    (!text.is_empty()).then(|| address(&text)).transpose()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(error) => value(f, error),
            Self::NoFile(path) => write!(f, "{}: there is no such file", path.display()),
            Self::Open { what, address, help } => {
                write!(f, "{what} would listen at {address} and let everybody in; {help}")
            }
            Self::Filter(filter, error) => write!(f, "`log.filter` is `{filter}`: {error}"),
            Self::Contradiction(what) => f.write_str(what),
            Self::NoRegistry(name, there) => {
                write!(f, "`registries.{name}`: no registry on the roster is called so; ")?;
                match there.as_slice() {
                    [] => f.write_str("there is none"),
                    there => write!(f, "there are {}", there.join(", ")),
                }
            }
        }
    }
}

/// What is wrong with which value, and where that stands.
fn value(f: &mut fmt::Formatter<'_>, error: &figment::Error) -> fmt::Result {
    if !error.path.is_empty() {
        write!(f, "`{}`: ", error.path.join("."))?;
    }
    write!(f, "{}", error.kind)?;
    match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
        Some(figment::Source::File(file)) => write!(f, "\n  in {}", file.display()),
        _ => Ok(()),
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
