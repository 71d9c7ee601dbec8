//! Where is a control plane? A URL that a token may be sent to.
//!
//! Proves that it is `https`, or `http` to this machine itself, and names nobody and no query: a token is shown to one
//! host, and not to who listens on the way there.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// For a name to resolve.
const RESOLVED_WITHIN: Duration = Duration::from_secs(10);

/// Where the admin API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) is_tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands before the API's own paths, if it is not at the root of its host.
    pub(crate) prefix: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            "this is no address such as `https://palisade.example.org`, without user, query and fragment"
                .to_owned()
        };
        let uri: http::Uri = text.parse().map_err(|_| form())?;
        let authority = uri.authority().ok_or_else(form)?;
        // A user could be a password, and would be sent nowhere.
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(form());
        }
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(form()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port =
            match authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':')) {
                Some(port) => port.parse().map_err(|_| form())?,
                None if is_tls => 443,
                None => 80,
            };
        if host.is_empty() {
            return Err(form());
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let address = Self { is_tls, host, port, prefix };
        if !is_tls && !address.is_this_machine() {
            return Err(
                "a token is sent over `https`, and over `http` to this machine itself only".to_owned()
            );
        }
        Ok(address)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(out, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

impl Address {
    fn is_this_machine(&self) -> bool {
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }

    /// As a request's head names it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.is_tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Where to connect, in the order to try.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((&*self.host, self.port)));
        let found =
            found.await.map_err(|_| format!("its name does not resolve within {RESOLVED_WITHIN:?}"))?;
        let mut found: Vec<SocketAddr> =
            found.map_err(|error| format!("its name does not resolve: {error}"))?.collect();
        // Whatever a name says, nothing goes over the network in clear.
        found.retain(|address| self.is_tls || address.ip().to_canonical().is_loopback());
        if found.is_empty() {
            Err("its name resolves to no address of its own".to_owned())
        } else {
            Ok(found)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_nowhere_else() {
        for (text, shown) in [
            ("https://palisade.example.org", "https://palisade.example.org"),
            ("https://palisade.example.org:8443/", "https://palisade.example.org:8443"),
            ("https://Palisade.example.org/base/", "https://palisade.example.org/base"),
            ("https://[2001:db8::1]:1", "https://[2001:db8::1]:1"),
            ("http://127.0.0.1:8082", "http://127.0.0.1:8082"),
            ("http://localhost:8082", "http://localhost:8082"),
            ("http://[::1]:8082", "http://[::1]:8082"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(shown.to_owned()));
        }
        for text in [
            "http://palisade.example.org",
            "http://10.0.0.1:8082",
            "http://localhost.example.org",
            "http://0.0.0.0",
            "palisade.example.org",
            "ftp://127.0.0.1",
            "https://",
            "https://user:secret@palisade.example.org",
            "https://palisade.example.org?token=x",
            "https://palisade.example.org#x",
            "https://palisade.example.org:",
            "https://palisade.example.org:99999",
            "https://palisade.example.org\r\nx: y",
            "",
        ] {
            let refused = text.parse::<Address>();
            assert!(refused.is_err(), "{text:?}: {refused:?}");
            assert!(!refused.unwrap_err().contains("secret"));
        }
    }
}
