//! Asks a gateway over HTTP and listens to what changes.
//!
//! ```no_run
//! # async fn example() -> Result<(), capmesh_client::Error> {
//! use capmesh_client::Client;
//!
//! let client = Client::new("http://127.0.0.1:8080", None)?;
//! for node in client.nodes().await? {
//!     println!("{} {:?}", node.name, node.state);
//! }
//! let mut events = client.events().await?;
//! while let Some(event) = events.next().await? {
//!     println!("{}", event.name());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client::ask`] takes any [`Request`]; the other methods are shorter ways to the same. What is said
//! and heard are the types of [`capmesh_gateway::api`].
//!
//! # Bounds
//! An answer is at most [`limits::ANSWER`] bytes, an event [`limits::EVENT`]; connecting takes at most
//! [`limits::CONNECT`] and an answer at most [`limits::WAIT`].
//!
//! # Deliberately absent
//! TLS: gateways speak HTTP to this machine, and to others behind a proxy that encrypts. Retries: who
//! asks knows best whether to ask again ([`Error::is_worth_retrying`]).

mod asks;
mod connection;
mod error;
mod events;
pub mod limits;
mod url;

pub use capmesh_gateway::api;
pub use error::Error;
pub use events::Events;

use api::{Answer, Refusal, Request};
use connection::Call;
use std::fmt;
use url::Base;

/// A gateway's API.
#[derive(Clone)]
pub struct Client {
    base: Base,
    token: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// The gateway at `url` (`http://HOST:PORT`), which may ask for `token`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Url`] if it is none.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self, Error> {
        Ok(Self { base: Base::parse(url)?, token: token.map(str::to_owned) })
    }

    /// Where the gateway is, for people.
    #[must_use]
    pub fn url(&self) -> String {
        self.base.to_string()
    }

    /// Asks or tells something.
    ///
    /// # Errors
    /// [`Error::Refused`] if the gateway does not grant it; the others if it cannot be asked.
    pub async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let body = serde_json::to_vec(request).map_err(|error| Error::protocol(&error))?;
        let call = Call { method: "POST", path: "/api/v1/requests", body: body.into() };
        let (status, body) = connection::call(&self.base, self.token.as_deref(), call).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| Error::protocol(&error));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(Error::Refused(Box::new(refusal))),
            Err(_) => Err(Error::protocol(&format_args!("it answers with status {status}"))),
        }
    }

    /// Begins to listen to what changes. First come the things as they are.
    ///
    /// # Errors
    /// If the gateway cannot be reached or does not let this client listen.
    pub async fn events(&self) -> Result<Events, Error> {
        Events::open(&self.base, self.token.as_deref()).await
    }
}
