//! Where a request to a proxy is to go.

use crate::message::{Code, Message, MessageWriter, Overflow};
use crate::option::OptionNumber;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of `coap` URIs (RFC 7252 section 6.1).
pub(super) const PORT: u16 = 5683;

/// The target of a request to a proxy, as its options name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// An IP address or a name, without brackets.
    pub host: &'a str,
    /// The UDP port.
    pub port: u16,
    /// Path and query of a Proxy-Uri, percent-encoded; `None` if they are options already.
    pub(super) local: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// A host and a port.
    #[must_use]
    pub const fn at(host: &'a str, port: u16) -> Self {
        Self { host, port, local: None }
    }

    /// Finds the target of `request`, from Proxy-Uri, which goes first, or else from Proxy-Scheme,
    /// Uri-Host and Uri-Port (RFC 7252 section 5.10.2).
    ///
    /// # Errors
    /// 5.05 if the scheme is not `coap`, 4.00 if the options make no target.
    pub(super) fn of(request: &Message<'a>) -> Result<Self, Code> {
        let text = |number| {
            let value = request.option(number);
            value
                .map(|value| core::str::from_utf8(value).map_err(|_| Code::BAD_REQUEST))
                .transpose()
        };
        if let Some(uri) = text(OptionNumber::PROXY_URI)? {
            return Self::of_uri(uri);
        }
        match text(OptionNumber::PROXY_SCHEME)? {
            Some(scheme) if scheme.eq_ignore_ascii_case("coap") => {}
            _ => return Err(Code::PROXYING_NOT_SUPPORTED),
        }
        let host = text(OptionNumber::URI_HOST)?.ok_or(Code::BAD_REQUEST)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = match request.option(OptionNumber::URI_PORT) {
            None => PORT,
            Some(_) => request
                .option_uint(OptionNumber::URI_PORT)
                .and_then(|port| u16::try_from(port).ok())
                .ok_or(Code::BAD_REQUEST)?,
        };
        Self { host, port, local: None }.checked()
    }

    /// `coap://host[:port][/path][?query]` (RFC 7252 section 6.1).
    fn of_uri(uri: &'a str) -> Result<Self, Code> {
        let (scheme, rest) = uri.split_once("://").ok_or(Code::PROXYING_NOT_SUPPORTED)?;
        if !scheme.eq_ignore_ascii_case("coap") {
            return Err(Code::PROXYING_NOT_SUPPORTED);
        }
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, local) = rest.split_at_checked(at).ok_or(Code::BAD_REQUEST)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => literal.split_once(']').ok_or(Code::BAD_REQUEST)?,
            None => match authority.find(':') {
                Some(at) => authority.split_at_checked(at).ok_or(Code::BAD_REQUEST)?,
                None => (authority, ""),
            },
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => PORT,
            None => return Err(Code::BAD_REQUEST),
            Some("") => PORT,
            Some(port) => port.parse().map_err(|_| Code::BAD_REQUEST)?,
        };
        if local.contains('#') || host.contains(['%', '@']) {
            return Err(Code::BAD_REQUEST);
        }
        Self { host, port, local: Some(local) }.checked()
    }

    fn checked(self) -> Result<Self, Code> {
        if self.host.is_empty() || self.port == 0 { Err(Code::BAD_REQUEST) } else { Ok(self) }
    }

    /// The address, if the host is one.
    #[must_use]
    pub fn literal(&self) -> Option<SocketAddr> {
        let v4 = || self.host.parse::<Ipv4Addr>().map(IpAddr::V4);
        let ip = self.host.parse::<Ipv6Addr>().map(IpAddr::V6).or_else(|_| v4()).ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// Writes the path and the query of a Proxy-Uri as options (RFC 7252 section 6.4).
    ///
    /// # Errors
    /// If they do not fit, or are not percent-encoded as they should be.
    pub(super) fn write_local(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        let local = self.local.unwrap_or_default();
        let (path, query) = match local.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (local, None),
        };
        if let Some(path) = path.strip_prefix('/').filter(|path| !path.is_empty()) {
            for segment in path.split('/') {
                write_decoded(writer, OptionNumber::URI_PATH, segment)?;
            }
        }
        for argument in query.into_iter().flat_map(|query| query.split('&')) {
            write_decoded(writer, OptionNumber::URI_QUERY, argument)?;
        }
        Ok(())
    }
}

/// The most bytes of a Uri-Path or Uri-Query option.
const SEGMENT: usize = 255;

fn write_decoded(
    writer: &mut MessageWriter<'_>,
    number: OptionNumber,
    encoded: &str,
) -> Result<(), Overflow> {
    let mut decoded = heapless::Vec::<u8, SEGMENT>::new();
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            byte => byte,
        };
        decoded.push(byte).map_err(|_| Overflow)?;
    }
    writer.option(number, &decoded)?;
    Ok(())
}

fn hex(digit: Option<u8>) -> Result<u8, Overflow> {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16)).ok_or(Overflow)?;
    u8::try_from(value).map_err(|_| Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Kind, Token};

    fn of_uri(uri: &str) -> Result<(&str, u16, Option<&str>), Code> {
        Target::of_uri(uri).map(|target| (target.host, target.port, target.local))
    }

    #[test]
    fn uris_are_taken_apart() {
        assert_eq!(
            of_uri("coap://[fd00::1]:61616/a/b?c=d"),
            Ok(("fd00::1", 61616, Some("/a/b?c=d")))
        );
        assert_eq!(of_uri("COAP://192.0.2.1"), Ok(("192.0.2.1", 5683, Some(""))));
        assert_eq!(of_uri("coap://node-7:?x"), Ok(("node-7", 5683, Some("?x"))));
        for uri in ["coaps://h/", "http://h/", "/a", "coap:h"] {
            assert_eq!(of_uri(uri), Err(Code::PROXYING_NOT_SUPPORTED), "{uri}");
        }
        for uri in [
            "coap://",
            "coap:///a",
            "coap://[::1",
            "coap://[::1]x",
            "coap://h:99999",
            "coap://h:0",
            "coap://h/#f",
            "coap://u@h/",
            "coap://%41/",
            "coap://h:1:2/",
        ] {
            assert_eq!(of_uri(uri), Err(Code::BAD_REQUEST), "{uri}");
        }
    }

    #[test]
    fn literals_are_addresses_and_names_are_not() {
        let literal = |host| Target { host, port: 7, local: None }.literal();
        assert_eq!(literal("fd00::1"), Some("[fd00::1]:7".parse().unwrap()));
        assert_eq!(literal("192.0.2.1"), Some("192.0.2.1:7".parse().unwrap()));
        assert_eq!(literal("node-7"), None);
        assert_eq!(literal("192.0.2.256"), None);
    }

    #[test]
    fn path_and_query_become_options() {
        let mut buf = [0; 600];
        let options = |uri: &str, buf: &mut [u8]| {
            let mut writer =
                MessageWriter::new(buf, Kind::Confirmable, Code::GET, 1, Token::EMPTY)?;
            Target::of_uri(uri).unwrap().write_local(&mut writer)?;
            let mut expected = [0; 600];
            let mut direct =
                MessageWriter::new(&mut expected, Kind::Confirmable, Code::GET, 1, Token::EMPTY)?;
            for (number, value) in [
                (OptionNumber::URI_PATH, &b"a b"[..]),
                (OptionNumber::URI_PATH, b""),
                (OptionNumber::URI_PATH, "\u{e9}".as_bytes()),
                (OptionNumber::URI_QUERY, b"x=1&"),
                (OptionNumber::URI_QUERY, b"y"),
            ] {
                direct.option(number, value)?;
            }
            Ok(writer.as_message().as_bytes() == direct.as_message().as_bytes())
        };
        assert_eq!(options("coap://h/a%20b//%C3%A9?x=1%26&y", &mut buf), Ok(true));
        assert_eq!(options("coap://h/%2", &mut buf), Err(Overflow));
        assert_eq!(options("coap://h/%zz", &mut buf), Err(Overflow));
        assert_eq!(options("coap://h/a%20b", &mut buf[..6]), Err(Overflow));
    }
}
