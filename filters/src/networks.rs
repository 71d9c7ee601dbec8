//! Is an address in this list? Networks, addresses and ranges, in order and without overlaps.
//!
//! Needs what an admin wrote; a look-up is one binary search, also with ten thousand entries. IPv4-mapped IPv6
//! addresses count as IPv4. What an empty list means is its owner's to say.

use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Entries of one list.
pub const ENTRIES_MAX: usize = 10_000;

/// A compiled list. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    ranges: Arc<[(IpAddr, IpAddr)]>,
}

impl Networks {
    /// Compiles the list of this name.
    pub fn compile(name: &str, entries: &[String]) -> Result<Self, String> {
        if entries.len() > ENTRIES_MAX {
            return Err(format!("`{name}` has {} entries; at most {ENTRIES_MAX} are read", entries.len()));
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
        Ok(if merged.is_empty() { Self::default() } else { Self { ranges: merged.into() } })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
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
            return Err(format!("`{entry}` is every address; name the networks that are meant"));
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

    fn list(entries: &[&str]) -> Networks {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        Networks::compile("ip_allowlist", &entries).unwrap()
    }

    #[test]
    fn every_notation_is_read() {
        let list =
            list(&["10.1.2.3/8", "203.0.113.10-20", "2001:db8::/32", "192.0.2.1", "192.0.2.5-192.0.2.7"]);
        for inside in ["10.255.0.1", "203.0.113.10", "203.0.113.20", "2001:db8::1", "192.0.2.1", "192.0.2.6"]
        {
            assert!(list.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.0", "203.0.113.21", "2001:db9::", "192.0.2.2", "192.0.2.8", "::1"] {
            assert!(!list.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!Networks::default().contains([10, 0, 0, 1].into()));
    }

    #[test]
    fn mapped_addresses_are_ipv4_and_everything_is_never_an_entry() {
        let list = list(&["::ffff:198.51.100.7"]);
        assert!(list.contains("::ffff:198.51.100.7".parse().unwrap()));
        assert!(list.contains("198.51.100.7".parse().unwrap()));
        for entry in ["0.0.0.0/0", "::/0", "1.2.3", "5.5.5.5-4.4.4.4", "1.1.1.1-::1", ""] {
            assert!(Networks::compile("ip_allowlist", &[entry.to_owned()]).is_err(), "{entry}");
        }
    }
}
