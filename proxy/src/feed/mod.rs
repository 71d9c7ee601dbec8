//! Proxies that are elsewhere: where they come to, how they are let in, how they ask, and what they keep.

mod client;
mod desk;
mod enroll;
mod far;
mod identity;
mod kept;
mod plane;

pub(crate) use desk::FeedDesk;
pub(crate) use enroll::{EnrollFlags, enroll};
pub(crate) use far::{Far, Following};
pub(crate) use plane::FarPlane;

use crate::listen::{Address, ClientAddress, Listen};
use serde::Deserialize;
use std::fmt;

/// What `feed.listen` is unless somebody says otherwise.
const PORT: u16 = 8083;
/// Names in one certificate.
const NAMES_MAX: usize = 32;

/// `[feed]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FeedConfig {
    /// Where.
    listen: Address,
    /// What proxies call it: names of hosts, and addresses. Its certificate is for these.
    names: Vec<String>,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { listen: Listen::local(PORT).address, names: Vec::new() }
    }
}

impl FeedConfig {
    /// What was written, with the flag over it.
    pub(crate) fn of(
        written: Option<Self>,
        flag: Option<&Address>,
        has_store: bool,
    ) -> Result<Option<Self>, String> {
        let Some(mut config) = written.or_else(|| flag.map(|_| Self::default())) else { return Ok(None) };
        if let Some(address) = flag {
            config.listen = address.clone();
        }
        if !has_store {
            return Err(
                "`[feed]` is where proxies hear what a store holds, and there is no `[store]`".to_owned()
            );
        }
        let Address::Inet(address) = &config.listen else {
            return Err(
                "`feed.listen` is an address with a port: proxies elsewhere reach no unix socket".to_owned()
            );
        };
        if config.names.is_empty() {
            if address.ip().is_unspecified() {
                return Err("`feed.names` says what proxies call this control plane, such as \
                            `[\"control.example\"]`: its certificate is for these names"
                    .to_owned());
            }
            config.names = vec![address.ip().to_string()];
            if address.ip().is_loopback() {
                config.names.push("localhost".to_owned());
            }
        }
        let is_name = |name: &String| rustls::pki_types::ServerName::try_from(name.as_str()).is_ok();
        if let Some(wrong) = config.names.iter().find(|name| !is_name(name)) {
            return Err(format!("`feed.names`: `{wrong}` is neither a host's name nor an address"));
        }
        // Names are checked as certificates have them, which is without it.
        if let Some(dotted) = config.names.iter().find(|name| name.ends_with('.')) {
            let plain = dotted.trim_end_matches('.');
            return Err(format!("`feed.names`: write `{dotted}` without the dot at its end, as `{plain}`"));
        }
        if config.names.len() > NAMES_MAX {
            return Err(format!("`feed.names` holds at most {NAMES_MAX} names"));
        }
        Ok(Some(config))
    }

    /// What its certificate is for.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The door. Its certificate is not in files.
    pub(crate) fn listen(&self) -> Listen {
        Listen {
            address: self.listen.clone(),
            mode: None,
            tls: None,
            client_address: ClientAddress::Socket,
            trusted_proxies: Vec::new(),
        }
    }
}

impl fmt::Display for FeedConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, for {}", self.listen, self.names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, flag: Option<&str>) -> Result<Option<FeedConfig>, String> {
        let flag = flag.map(|flag| flag.parse().unwrap());
        FeedConfig::of(Some(toml::from_str(text).unwrap()), flag.as_ref(), true)
    }

    #[test]
    fn it_is_known_what_proxies_call_it() {
        let loopback = of("", None).unwrap().unwrap();
        assert_eq!(loopback.to_string(), "127.0.0.1:8083, for 127.0.0.1, localhost");
        let flagged = of("names = [\"control.example\"]", Some("0.0.0.0:1")).unwrap().unwrap();
        assert_eq!(flagged.to_string(), "0.0.0.0:1, for control.example");
        for (text, said) in [
            ("listen = \"0.0.0.0:8083\"", "`feed.names` says what proxies call"),
            ("listen = \"unix:/run/feed\"", "an address with a port"),
            ("names = [\"control.example.\"]", "without the dot at its end, as `control.example`"),
            ("names = [\"https://control.example\"]", "neither a host's name nor an address"),
        ] {
            let told = of(text, None).unwrap_err();
            assert!(told.contains(said), "{told}");
        }
        assert!(FeedConfig::of(None, None, false).unwrap().is_none());
        let told = FeedConfig::of(None, Some(&"127.0.0.1:0".parse().unwrap()), false).unwrap_err();
        assert!(told.contains("there is no `[store]`"), "{told}");
    }
}
