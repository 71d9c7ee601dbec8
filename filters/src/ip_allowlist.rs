//! May it come from this address?
//!
//! Needs the organisation's and the key's list and the caller's address; proves [`Origin`]. An empty list lets
//! every address in. IPv4-mapped IPv6 addresses count as IPv4.

use crate::refusal::Refusal;
use ipnet::IpNet;
use std::net::IpAddr;

/// Entries of one list.
pub const ENTRIES_MAX: usize = 10_000;

/// The address a request comes from, admitted.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    address: IpAddr,
}

impl Origin {
    /// The address.
    pub fn address(self) -> IpAddr {
        self.address
    }
}

/// A compiled list: ranges in order, without overlaps, so that a look-up is one binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowList {
    ranges: Vec<(IpAddr, IpAddr)>,
}

/// Admits a request if every list does.
pub(crate) fn admit(address: IpAddr, lists: [&AllowList; 2]) -> Result<Origin, Refusal> {
    let address = address.to_canonical();
    if lists.iter().all(|list| list.admits(address)) {
        Ok(Origin { address })
    } else {
        Err(Refusal::IpNotAllowed)
    }
}

impl AllowList {
    pub(crate) fn compile(entries: &[String]) -> Result<Self, String> {
        if entries.len() > ENTRIES_MAX {
            return Err(format!(
                "`ip_allowlist` has {} entries; at most {ENTRIES_MAX} are read",
                entries.len()
            ));
        }
        let mut ranges = entries.iter().map(|entry| parse(entry)).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if before.1 >= first && before.1.is_ipv4() == first.is_ipv4() => {
                    before.1 = before.1.max(last);
                }
                Some(_) | None => merged.push((first, last)),
            }
        }
        Ok(Self { ranges: merged })
    }

    fn admits(&self, address: IpAddr) -> bool {
        if self.ranges.is_empty() {
            return true;
        }
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|(first, last)| first.is_ipv4() == address.is_ipv4() && address <= *last)
    }
}

/// Reads a network (host bits tolerated), an address, `a-b` or `203.0.113.10-20`.
fn parse(entry: &str) -> Result<(IpAddr, IpAddr), String> {
    let text = entry.trim();
    let unreadable = || {
        format!(
            "`{entry}` is not an address, a network such as `10.0.0.0/8` or a range such as `10.0.0.1-20`"
        )
    };
    let (first, last) = if let Ok(network) = text.parse::<IpNet>() {
        if network.prefix_len() == 0 {
            return Err(format!("`{entry}` is every address; leave the list empty to allow them all"));
        }
        let network = network.trunc();
        (network.network(), network.broadcast())
    } else if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.trim().parse().map_err(|_| unreadable())?;
        let last = match (last.trim().parse::<IpAddr>(), first) {
            (Ok(last), _) => last,
            (Err(_), IpAddr::V4(v4)) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::from([a, b, c, last.trim().parse().map_err(|_| unreadable())?])
            }
            (Err(_), IpAddr::V6(_)) => return Err(unreadable()),
        };
        (first, last)
    } else {
        let address = text.parse().map_err(|_| unreadable())?;
        (address, address)
    };
    let (first, last) = (first.to_canonical(), last.to_canonical());
    if first > last || first.is_ipv4() != last.is_ipv4() {
        return Err(format!("the range `{entry}` ends before it begins"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        AllowList::compile(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn every_notation_is_read() {
        let list =
            list(&["10.1.2.3/8", "203.0.113.10-20", "2001:db8::/32", "192.0.2.1", "192.0.2.5-192.0.2.7"]);
        for inside in ["10.255.0.1", "203.0.113.10", "203.0.113.20", "2001:db8::1", "192.0.2.1", "192.0.2.6"]
        {
            assert!(list.admits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.0", "203.0.113.21", "2001:db9::", "192.0.2.2", "192.0.2.8", "::1"] {
            assert!(!list.admits(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4_and_everything_is_never_an_entry() {
        let list = list(&["::ffff:198.51.100.7"]);
        assert!(admit("::ffff:198.51.100.7".parse().unwrap(), [&list, &AllowList::default()]).is_ok());
        assert!(admit("198.51.100.8".parse().unwrap(), [&list, &AllowList::default()]).is_err());
        for entry in ["0.0.0.0/0", "::/0", "1.2.3", "5.5.5.5-4.4.4.4", "1.1.1.1-::1", ""] {
            assert!(AllowList::compile(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }
}
