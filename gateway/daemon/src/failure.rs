//! Why a gateway does not start: what, why, and a way out.

#[cfg(feature = "broker")]
use crate::broker::BrokerError;
use crate::config::ConfigError;
use crate::mqtt::TlsError;
pub use crate::site::SiteError;
use crate::storage::StorageError;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a gateway does not start.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is not one.
    Config(ConfigError),
    /// The site's directory is none for this gateway.
    Site(SiteError),
    /// The state cannot be used.
    State(StorageError),
    /// It cannot listen.
    Listen {
        /// For what.
        what: What,
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The line to the broker cannot be encrypted.
    Tls(TlsError),
    /// The broker inside cannot keep what is retained.
    Broker(String),
    /// The machine does not give what is needed: a thread.
    Machine(io::Error),
    /// The gateway's key cannot be used.
    Key(String),
}

/// What listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// For nodes, over UDP.
    Nodes,
    /// The page and the API.
    Http,
    /// The MQTT broker.
    Mqtt,
}

impl What {
    /// Its name, the flag that moves it, and what it speaks.
    const fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Nodes => ("nodes", "`--listen [::]:5684`", "udp"),
            Self::Http => ("the page and the API", "`--http 127.0.0.1:8081`", "tcp"),
            Self::Mqtt => (
                "the MQTT broker",
                "`--broker-listen 127.0.0.1:1884` (and `--broker-websocket`), or use the broker that is \
                 there with `--mqtt mqtt://127.0.0.1:1883`",
                "tcp",
            ),
        }
    }
}

impl Failure {
    /// What to do about it, if that is known.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        let Self::Listen { what, address, error } = self else { return None };
        let (_, flag, protocol) = what.texts();
        let port = address.port();
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let short = if protocol == "udp" { "-lunp" } else { "-ltnp" };
                Some(format!(
                    "another program has port {port}: `ss {short} 'sport = {port}'` says which; \
                     another port is taken with {flag}"
                ))
            }
            io::ErrorKind::PermissionDenied => {
                Some(format!("ports below 1024 are the superuser's; another is taken with {flag}"))
            }
            io::ErrorKind::AddrNotAvailable => Some(
                "this machine does not have that address; `ip address` lists those it has".into(),
            ),
            _ => None,
        }
    }

    /// What a process should end with: 2 if it was told something wrong, 1 otherwise.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Site(_) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Site(error) => write!(f, "{error}"),
            Self::State(error) => write!(f, "{error}"),
            Self::Listen { what, address, error } => {
                let (name, ..) = what.texts();
                write!(f, "cannot listen at {address} for {name}: {error}")
            }
            Self::Tls(error) => write!(f, "{error}"),
            Self::Broker(error) => write!(f, "the MQTT broker: {error}"),
            Self::Machine(error) => write!(f, "cannot start: {error}"),
            Self::Key(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Failure {}

macro_rules! from {
    ($($error:ty => $variant:ident,)*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from! {
    ConfigError => Config,
    SiteError => Site,
    StorageError => State,
    TlsError => Tls,
}

#[cfg(feature = "broker")]
impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Listen(address, error) => {
                Self::Listen { what: What::Mqtt, address, error }
            }
            BrokerError::Retain(..) => Self::Broker(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_comes_with_a_way_out() {
        for (what, flag) in [
            (What::Nodes, "--listen"),
            (What::Http, "--http"),
            (What::Mqtt, "mqtt://127.0.0.1:1883"),
        ] {
            let address = SocketAddr::from(([127, 0, 0, 1], 1883));
            let error = io::Error::from(io::ErrorKind::AddrInUse);
            let failure = Failure::Listen { what, address, error };
            assert!(failure.to_string().contains("127.0.0.1:1883"), "{failure}");
            let help = failure.help().unwrap();
            assert!(help.contains(flag) && help.contains("sport = 1883"), "{help}");
        }
    }
}
