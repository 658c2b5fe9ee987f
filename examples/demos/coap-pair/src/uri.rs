//! `coap://` URIs, as far as a command line needs them (RFC 7252 section 6.4).

use capmesh_coap::message::{MessageWriter, Overflow};
use capmesh_coap::option::OptionNumber;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where a request goes and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The server's address.
    pub address: SocketAddr,
    /// The host, if it is a name.
    host: Option<String>,
    path: Vec<String>,
    query: Vec<String>,
}

impl Uri {
    /// Parses `text` and looks its host up.
    ///
    /// # Errors
    /// What is wrong with it, for a person to read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("coap://")
            .ok_or_else(|| format!("{text}: a URI like coap://127.0.0.1:5683/hello is wanted"))?;
        if rest.contains('#') {
            return Err(format!("{text}: a request cannot carry a fragment (#...)"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let authority = if has_port { authority.into() } else { format!("{authority}:5683") };
        let address = authority
            .to_socket_addrs()
            .map_err(|error| format!("{text}: {error}"))?
            .next()
            .ok_or_else(|| format!("{text}: the host has no address"))?;
        let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
        let is_literal = authority.parse::<SocketAddr>().is_ok();
        let decode = |part: &str| {
            decode(part).ok_or_else(|| format!("{text}: {part:?} is not percent-encoded UTF-8"))
        };
        let path = if path.is_empty() { None } else { Some(path.split('/')) };
        let query = query.map(|query| query.split('&'));
        Ok(Self {
            address,
            host: (!is_literal).then(|| host.to_ascii_lowercase()),
            path: path.into_iter().flatten().map(decode).collect::<Result<_, _>>()?,
            query: query.into_iter().flatten().map(decode).collect::<Result<_, _>>()?,
        })
    }

    /// Writes the options that say it.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        if let Some(host) = &self.host {
            writer.option(OptionNumber::URI_HOST, host.as_bytes())?;
        }
        for segment in &self.path {
            writer.option(OptionNumber::URI_PATH, segment.as_bytes())?;
        }
        for query in &self.query {
            writer.option(OptionNumber::URI_QUERY, query.as_bytes())?;
        }
        Ok(())
    }
}

fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
                after
            }
            (b'%', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_and_decoded() {
        let uri = Uri::parse("coap://127.0.0.1:61616/a%2Fb/c?x=1&y").unwrap();
        assert_eq!(uri.address, "127.0.0.1:61616".parse().unwrap());
        assert_eq!(uri.path, ["a/b", "c"]);
        assert_eq!(uri.query, ["x=1", "y"]);
        assert_eq!(uri.host, None);
    }

    #[test]
    fn the_port_and_the_path_may_be_left_out() {
        assert_eq!(Uri::parse("coap://[::1]").unwrap().address, "[::1]:5683".parse().unwrap());
        assert!(Uri::parse("coap://127.0.0.1/").unwrap().path.is_empty());
        assert_eq!(Uri::parse("coap://LOCALHOST/x").unwrap().host.as_deref(), Some("localhost"));
    }

    #[test]
    fn what_is_no_uri_is_refused_with_a_reason() {
        for text in ["http://x/", "127.0.0.1", "coap://127.0.0.1/%zz", "coap://127.0.0.1/#a"] {
            assert!(Uri::parse(text).unwrap_err().contains(text));
        }
    }
}
