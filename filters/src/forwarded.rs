//! Whose request is it that a proxy passes on? The client's address, from the one header that the operator named.
//!
//! Needs that header's lines and the proxies that are trusted; proves an address that a trusted proxy saw itself. The
//! list is walked from the right, where the nearest proxy wrote: past trusted addresses, to the first that is not.
//! What stands further left is the client's own claim and is never read. What must be read and cannot be is refused:
//! there is no second guess. `X-Forwarded-For` is as its inventors left it; `Forwarded` is RFC 7239.

use crate::networks::Networks;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Proxies that one request may have come through.
pub const HOPS_MAX: usize = 32;
/// What `trusted_proxies` calls peers that are processes of this machine.
const UNIX: &str = "unix";

/// Whom the operator trusts to say where a request comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Networks,
    has_unix: bool,
}

/// An address that cannot be read where one must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl TrustedProxies {
    /// Compiles `trusted_proxies`: entries as in `ip_allowlist`, and `unix` for the peers of unix sockets.
    pub fn compile(entries: &[String]) -> Result<Self, String> {
        let (unix, addresses): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| entry == UNIX);
        Ok(Self { networks: Networks::compile("trusted_proxies", &addresses)?, has_unix: !unix.is_empty() })
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.has_unix
    }

    /// Whether a peer is trusted; one without an address is a unix socket's.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.has_unix, |address| self.networks.contains(address))
    }
}

/// The client's address by `X-Forwarded-For`; `None` if there is no such line.
pub fn x_forwarded_for<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &TrustedProxies,
) -> Result<Option<IpAddr>, Unreadable> {
    let entries = lines.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    walk(entries.map(|entry| std::str::from_utf8(entry).ok().and_then(address)), trusted)
}

/// The client's address by `Forwarded`; `None` if there is no such line.
pub fn forwarded<'a>(
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &TrustedProxies,
) -> Result<Option<IpAddr>, Unreadable> {
    // Line by line: a quote that a client left open ends with its line, and swallows nothing that a proxy wrote in
    // another.
    let entries = lines.rev().flat_map(|line| {
        let elements = std::str::from_utf8(line).ok().and_then(elements);
        elements.unwrap_or_else(|| vec![None]).into_iter().rev()
    });
    walk(entries, trusted)
}

/// From the nearest address to the first that is not trusted; if all are, the furthest.
fn walk(
    addresses: impl Iterator<Item = Option<IpAddr>>,
    trusted: &TrustedProxies,
) -> Result<Option<IpAddr>, Unreadable> {
    let mut client = None;
    for (hop, address) in addresses.enumerate() {
        let address = address.filter(|_| hop < HOPS_MAX).ok_or(Unreadable)?;
        client = Some(address);
        if !trusted.trusts(client) {
            break;
        }
    }
    Ok(client)
}

/// An address as proxies write it: alone, or with a port, which an IPv6 address then has brackets for. A zone is no
/// part of an address that comes from elsewhere.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || match text.parse::<SocketAddr>().ok()? {
        SocketAddr::V4(v4) => Some(IpAddr::from(*v4.ip())),
        SocketAddr::V6(v6) => (v6.scope_id() == 0 && !text.contains('%')).then(|| IpAddr::from(*v6.ip())),
    };
    let address = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

/// For each element of a line the address of its `for`, as far as it is one; `None` if the line cannot be read.
fn elements(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut elements = Vec::new();
    let mut rest = line;
    loop {
        let (element, after) = element(rest)?;
        elements.push(element);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(elements),
        }
    }
}

/// Reads pairs up to a comma or the end.
fn element(mut rest: &str) -> Option<(Option<IpAddr>, &str)> {
    let mut client = None;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        let (value, after) = value(after)?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") {
            // Two of them would be two clients.
            if client.is_some() {
                return None;
            }
            client = Some(address(value));
        }
        rest = after.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(';') {
            Some(more) => rest = more,
            None => return Some((client.flatten(), rest)),
        }
    }
}

/// Reads a token or a quoted text, and gives what it says with what comes after. A text with escapes is kept as it
/// is: no address has any.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
        return text.split_at_checked(end).filter(|(token, _)| !token.is_empty());
    };
    let mut is_escaped = false;
    let end = quoted.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::compile(&["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned(), UNIX.to_owned()])
            .unwrap()
    }

    fn by_x(lines: &[&str]) -> Result<Option<IpAddr>, Unreadable> {
        x_forwarded_for(lines.iter().map(|line| line.as_bytes()), &trusted())
    }

    fn by_rfc(lines: &[&str]) -> Result<Option<IpAddr>, Unreadable> {
        forwarded(lines.iter().map(|line| line.as_bytes()), &trusted())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what is read")]
    fn is(address: &str) -> Result<Option<IpAddr>, Unreadable> {
        Ok(Some(address.parse().unwrap()))
    }

    #[test]
    fn peers_are_trusted_by_network_or_as_unix() {
        let trusted = trusted();
        assert!(trusted.trusts(None) && trusted.trusts(Some("::ffff:10.1.1.1".parse().unwrap())));
        assert!(!trusted.trusts(Some([192, 0, 2, 1].into())));
        assert!(!TrustedProxies::compile(&["10.0.0.1".to_owned()]).unwrap().trusts(None));
        assert!(TrustedProxies::default().is_empty() && !TrustedProxies::default().trusts(None));
        for entry in ["0.0.0.0/0", "Unix", "proxy.example", ""] {
            assert!(TrustedProxies::compile(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }

    #[test]
    fn the_list_is_walked_from_the_right_past_trusted_addresses() {
        for (lines, client) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["203.0.113.7,10.1.1.1 ,\t10.2.2.2"], "203.0.113.7"),
            // What the client wrote itself, in whatever shape, is not asked.
            (&["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            (&["10.9.9.9, nonsense,, 203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["\"", "127.0.0.1", "203.0.113.7", "10.1.1.1"], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7", "10.1.1.1, 10.2.2.2"], "203.0.113.7"),
            (&["10.3.3.3, 10.1.1.1"], "10.3.3.3"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db9::7]:4711, [2001:db8::1]"], "2001:db9::7"),
            (&["2001:db9::7"], "2001:db9::7"),
            (&["::ffff:203.0.113.7, ::ffff:10.0.0.1"], "203.0.113.7"),
        ] {
            assert_eq!(by_x(lines), is(client), "{lines:?}");
        }
        assert_eq!(by_x(&[]), Ok(None));
    }

    #[test]
    fn what_must_be_read_and_cannot_be_is_refused() {
        for entry in [
            "",
            " ",
            "unknown",
            "_hidden",
            "203.0.113",
            "203.0.113.7.8",
            "203.0.113.07",
            "203.0.113.7:",
            "203.0.113.7:99999",
            "203.0.113.7:80:80",
            "[203.0.113.7]",
            "[2001:db9::7",
            "2001:db9::7]",
            "[2001:db9::7]:",
            "fe80::1%eth0",
            "[fe80::1%1]:80",
            "client.example",
            "1",
            "0x7f.0.0.1",
            "203.0.113.7 10.0.0.1",
            "203.0.113.7;10.0.0.1",
            "é",
        ] {
            assert_eq!(by_x(&[entry]), Err(Unreadable), "{entry}");
            assert_eq!(by_x(&[&format!("203.0.113.9, {entry}, 10.1.1.1")]), Err(Unreadable), "{entry}");
        }
        assert_eq!(by_x(&["203.0.113.9", ""]), Err(Unreadable));
        let chain = |hops| vec!["10.1.1.1"; hops].join(", ");
        assert_eq!(by_x(&[&chain(HOPS_MAX + 1)]), Err(Unreadable));
        assert_eq!(by_x(&[&chain(HOPS_MAX)]), is("10.1.1.1"));
        assert_eq!(x_forwarded_for([&b"\xff"[..]].into_iter(), &trusted()), Err(Unreadable));
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (lines, client) in [
            (&["for=203.0.113.7"][..], "203.0.113.7"),
            (&["For=\"[2001:db9:cafe::17]:4711\""], "2001:db9:cafe::17"),
            (&["for=203.0.113.7;proto=http;by=10.0.0.1"], "203.0.113.7"),
            (&["proto=https; host=\"a;b,c\\\"d\"; for=203.0.113.7, for=10.0.0.1"], "203.0.113.7"),
            (&["for=203.0.113.7, for=\"10.0.0.1:80\"", "by=_x;for=10.0.0.2"], "203.0.113.7"),
            (&["for=unknown, for=203.0.113.7"], "203.0.113.7"),
            // A quote left open by the client does not reach into the proxy's line.
            (&["for=127.0.0.1;host=\"", "for=203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(by_rfc(lines), is(client), "{lines:?}");
        }
        assert_eq!(by_rfc(&[]), Ok(None));
        for line in [
            "",
            "203.0.113.7",
            "for=",
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK:1\"",
            "for=\"203.0.113.7",
            "for=203.0.113.7:80",
            "for=[2001:db9::7]",
            "proto=https",
            "for=203.0.113.7;for=203.0.113.8",
            "for=203.0.113.7,",
            "for=203.0.113.7;",
            "for = 203.0.113.7",
            "for=\"203.0.113.7\"x",
            "for=203.0.113.7 for=203.0.113.8",
            "for=\"203.0.113.\\7\"",
            "=203.0.113.7",
            "for=\", for=203.0.113.7",
            "for=\", for=\"[2001:db9::7]:80\"",
            "f\u{f6}r=203.0.113.7",
        ] {
            assert_eq!(by_rfc(&[line]), Err(Unreadable), "{line}");
        }
    }

    /// What a client may write before a proxy appends to it.
    fn claim() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~]{0,60}", "(for=|\"|,|;|10\\.0\\.0\\.1|unknown|=|\\\\| ){0,12}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_lines_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
            let lines = || lines.iter().map(Vec::as_slice);
            let _ = (x_forwarded_for(lines(), &trusted()), forwarded(lines(), &trusted()));
        }

        /// Whatever a client sends: appended to or in a line of its own, it cannot be somebody else.
        #[test]
        fn a_client_cannot_choose_its_address(claim in claim(), is_v6 in any::<bool>()) {
            let (real, quoted) =
                if is_v6 { ("2001:db9::7", "\"[2001:db9::7]:80\"") } else { ("203.0.113.7", "203.0.113.7") };
            prop_assert_eq!(by_x(&[&format!("{claim}, {real}, 10.0.0.1")]), is(real));
            prop_assert_eq!(by_x(&[&claim, real]), is(real));
            prop_assert_eq!(by_rfc(&[&claim, &format!("for={quoted}")]), is(real));
            // In one line an open quote can make it unreadable, but never another's.
            let told = by_rfc(&[&format!("{claim}, for={quoted}, for=10.0.0.1")]);
            prop_assert!(told == is(real) || told == Err(Unreadable), "{:?}", told);
        }
    }
}
