//! May it come from this address?
//!
//! Needs the organisation's and the key's list and the caller's address; proves [`Origin`]. An empty list lets
//! every address in. An address that nobody knows is on no list.

use crate::networks::Networks;
use crate::refusal::Refusal;
use std::net::IpAddr;

/// Where a request comes from, admitted.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    address: Option<IpAddr>,
}

impl Origin {
    /// The address, unless nobody knows it.
    pub fn address(self) -> Option<IpAddr> {
        self.address
    }
}

/// Admits a request if every list does.
pub(crate) fn admit(address: Option<IpAddr>, lists: [&Networks; 2]) -> Result<Origin, Refusal> {
    let address = address.map(|address| address.to_canonical());
    for list in lists.into_iter().filter(|list| !list.is_empty()) {
        match address {
            Some(address) if list.contains(address) => {}
            Some(_) => return Err(Refusal::IpNotAllowed),
            None => return Err(Refusal::AddressUnknown),
        }
    }
    Ok(Origin { address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entry: &str) -> Networks {
        Networks::compile("ip_allowlist", &[entry.to_owned()]).unwrap()
    }

    #[test]
    fn both_lists_admit_and_an_empty_one_admits_all() {
        let (wide, narrow, none) = (list("198.51.100.0/24"), list("198.51.100.7"), Networks::default());
        let admits = |address: &str, lists| admit(Some(address.parse().unwrap()), lists).is_ok();
        assert!(admits("::ffff:198.51.100.7", [&wide, &narrow]));
        assert!(!admits("198.51.100.8", [&wide, &narrow]));
        assert!(admits("198.51.100.8", [&wide, &none]));
        assert!(admits("2001:db8::1", [&none, &none]));
    }

    #[test]
    fn an_unknown_address_is_on_no_list() {
        let (some, none) = (list("198.51.100.7"), Networks::default());
        assert!(matches!(admit(None, [&none, &some]), Err(Refusal::AddressUnknown)));
        assert!(admit(None, [&none, &none]).is_ok());
    }
}
