//! Where are an issuer's keys? An `https` address, taken apart once.

use std::fmt;
use std::sync::Arc;

/// An address with a host that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// Where the keys of issuers are fetched. Equal ones are fetched once, whoever wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeySource {
    /// What is fetched.
    pub address: Address,
    /// If it is not the keys yet but a document that names their address: the issuer that it must be of.
    pub discovery_of: Option<Arc<str>>,
    /// Hosts and ports that may be loopback or private, as the platform's document lists them.
    pub private_hosts: Arc<[(String, u16)]>,
}

impl KeySource {
    /// Whether an address of this host and port may be one of our own network.
    pub fn may_be_private(&self, address: &Address) -> bool {
        self.private_hosts.iter().any(|(host, port)| *host == address.host && *port == address.port)
    }
}

/// Hosts and ports of our own network, as an operator lists them.
pub(crate) fn private_hosts(listed: &[String]) -> Result<Arc<[(String, u16)]>, String> {
    let read = |host: &String| {
        Address::read(&format!("https://{host}"))
            .ok()
            .filter(|address| address.path == "/" && !host.ends_with('/'))
            .map(|address| (address.host, address.port))
            .ok_or_else(|| {
                format!("`jwt.private_hosts`: `{host}` is no host such as `login.internal.example`")
            })
    };
    listed.iter().map(read).collect()
}

impl Address {
    /// Reads an `https` URL.
    pub fn read(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or("it does not begin with `https://`")?;
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at).unwrap_or((rest, ""));
        if authority.contains('@') || path.contains('#') {
            return Err("it may hold no user and no fragment".to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "it has no valid port")?)
            }
            Some(_) | None => (authority, 443),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let is_v6 = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
        let fits = match bare {
            Some(v6) => !v6.is_empty() && v6.bytes().all(is_v6),
            None => !host.is_empty() && host.bytes().all(is_host),
        };
        if !fits || port == 0 {
            return Err("it names no host in small letters, digits, `.` and `-`".to_owned());
        }
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_~%:@+,=?&!$'()*;".contains(&byte);
        if !path.bytes().all(is_path) {
            return Err("it holds characters that no address has; write others as `%20`".to_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port, path: format!("{slash}{path}") })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match port {
            443 => write!(out, "https://{host}{path}"),
            _ => write!(out, "https://{host}:{port}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_reads_as_it_is_written_and_in_no_other_way() {
        for url in [
            "https://login.example/keys",
            "https://login.example:8443/a/b?p=policy&x=1",
            "https://[2001:db8::1]/keys",
            "https://192.0.2.7:1/",
        ] {
            assert_eq!(Address::read(url).unwrap().to_string(), url);
        }
        assert_eq!(Address::read("https://a.example").unwrap().path, "/");
        assert_eq!(Address::read("https://a.example?b").unwrap().path, "/?b");
        for url in [
            "http://a.example/",
            "HTTPS://a.example/",
            "https://",
            "https:///keys",
            "https://:443/",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://user@a.example/",
            "https://a.example/#b",
            "https://a.example\\@b.example/",
            "https://A.example/",
            "https://а.example/",
            "https://a.example/ä",
            "https://a.example/a b",
            "https://[::1/",
            "https://::1/",
            "https://[]/",
            "https://a.example/\r\nhost: b",
        ] {
            assert!(Address::read(url).is_err(), "{url}");
        }
    }
}
