//! Where a gateway is.

use crate::Error;
use std::fmt;

/// The part of a URL that is the same for everything that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// `HOST:PORT`, for connecting and as the header `Host`.
    pub(crate) authority: String,
    /// What stands before `/api`, without a slash at its end: for gateways behind a proxy.
    pub(crate) path: String,
}

impl Base {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let not = |why: &str| Error::Url { url: url.to_owned(), why: why.to_owned() };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(not("only http is spoken: go through a tunnel or a local proxy"));
            }
            Some(_) => return Err(not("it is to begin with http://")),
            None => url,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains(['@', ' ', '?', '#']) {
            return Err(not("it is to be http://HOST:PORT"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let port = authority.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(not("its port is not a number up to 65535"));
        }
        let path = path.trim_end_matches('/');
        if path.contains(|c: char| c.is_ascii_whitespace() || !c.is_ascii()) {
            return Err(not("its path has characters that no path has"));
        }
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { authority, path })
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://gw", "http://gw:80"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://gw/mesh/", "http://gw:80/mesh"),
        ] {
            assert_eq!(Base::parse(url).unwrap().to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_named() {
        for url in
            ["https://gw", "ftp://gw", "http://", "http://a@b", "http://a:b", "http://a:99999"]
        {
            let error = Base::parse(url).unwrap_err();
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}
