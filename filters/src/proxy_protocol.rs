//! For whom does a connection speak? The header that a balancer puts before the first byte of its client's.
//!
//! Needs the first bytes of a connection from a peer that is trusted to say so; proves whom it named. Versions 1 and
//! 2 of "The PROXY protocol" (`doc/proxy-protocol.txt` of `HAProxy`), strictly: what does not exactly match ends the
//! connection. It reads no socket: whoever does hands over all that came so far, and is told whether that is enough.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A whole header is never longer. It is sent at once, so it fits the smallest segment of TCP (RFC 9293 §3.7.1).
pub const HEADER_BYTES_MAX: usize = 536;
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// What a line of version 1 begins with.
const LINE_START: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The extension that holds a checksum of the header.
const CHECKSUM: u8 = 0x03;
/// CRC-32C, reflected (RFC 9260 appendix A).
const CASTAGNOLI: u32 = 0x82f6_3b78;

/// A header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whom it names.
    pub client: Client,
    /// How many bytes it took; what follows is the client's.
    pub bytes: usize,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The sender's own, such as a health check.
    Sender,
    /// A client's, from this address.
    Address(IpAddr),
    /// A client's, and the sender does not know from where, or it is no address of the Internet.
    Unknown,
}

/// Why the first bytes of a connection are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Something else was sent.
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    /// Version 1, and not a line as it must be.
    #[error("the line of the PROXY protocol is malformed")]
    Line,
    /// Longer than a header may be.
    #[error("the PROXY protocol header is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
    /// Another version or command of version 2.
    #[error("the PROXY protocol header has an unknown version or command")]
    Command,
    /// An address family or a transport that is none.
    #[error("the PROXY protocol header has an unknown address family or transport")]
    Family,
    /// Its length leaves no room for what it holds.
    #[error("the PROXY protocol header is shorter than what it announces")]
    TooShort,
    /// Its checksum is not that of its bytes.
    #[error("the checksum of the PROXY protocol header is wrong")]
    Checksum,
}

/// Reads the header that these bytes begin with; `None` while more of it must come.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins_with(bytes, SIGNATURE) {
        read_binary(bytes)
    } else if begins_with(bytes, LINE_START) {
        read_line(bytes)
    } else {
        Err(Malformed::Absent)
    }
}

/// Whether these bytes are the start, or a part of it.
fn begins_with(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn read_line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let seen = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memchr2(b'\r', b'\n', seen) else {
        return if seen.len() < LINE_BYTES_MAX { Ok(None) } else { Err(Malformed::Line) };
    };
    // A single CR or LF ends nothing, and is nothing that a line may hold.
    match seen.get(end..end + 2) {
        Some(b"\r\n") => {}
        None if seen.last() == Some(&b'\r') && seen.len() < LINE_BYTES_MAX => return Ok(None),
        Some(_) | None => return Err(Malformed::Line),
    }
    let line = seen.get(LINE_START.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let client = line.and_then(named).ok_or(Malformed::Line)?;
    Ok(Some(Header { client, bytes: end + 2 }))
}

/// Whom the rest of a line names.
fn named(line: &str) -> Option<Client> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Client::Unknown);
    }
    let mut words = line.split(' ');
    let mut word = || words.next();
    let (family, source, destination) = (word()?, word()?, word()?);
    let address: IpAddr = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            source.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            source.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    let has_ports = is_port(word()?) && is_port(word()?);
    (has_ports && word().is_none()).then_some(Client::Address(address.to_canonical()))
}

/// A decimal number without leading zeroes, up to 65535.
fn is_port(text: &str) -> bool {
    let is_plain = text == "0" || text.bytes().next().is_some_and(|first| (b'1'..=b'9').contains(&first));
    is_plain && text.parse::<u16>().is_ok()
}

fn read_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((start, rest)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
    let [.., command, family, high, low] = *start;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let all = start.len() + length;
    if !matches!(command, 0x20 | 0x21) {
        return Err(Malformed::Command);
    }
    if all > HEADER_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let (family, transport) = (family >> 4, family & 0x0f);
    // What a sender says of its own connection, family included, is skipped.
    let is_own = command == 0x20;
    let addresses_bytes = match family {
        _ if is_own => 0,
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(Malformed::Family),
    };
    if !is_own && transport > 2 {
        return Err(Malformed::Family);
    }
    if length < addresses_bytes {
        return Err(Malformed::TooShort);
    }
    let Some((header, block)) = bytes.get(..all).zip(rest.get(..length)) else { return Ok(None) };
    let client = match (family, transport) {
        _ if is_own => Client::Sender,
        (1, 1) => block.first_chunk::<4>().map_or(Client::Unknown, |octets| address(IpAddr::from(*octets))),
        (2, 1) => block.first_chunk::<16>().map_or(Client::Unknown, |octets| address(IpAddr::from(*octets))),
        _ => Client::Unknown,
    };
    if addresses_bytes > 0 {
        check_extensions(header, block.get(addresses_bytes..).unwrap_or_default())?;
    }
    Ok(Some(Header { client, bytes: all }))
}

fn address(address: IpAddr) -> Client {
    Client::Address(address.to_canonical())
}

/// Extensions are skipped, but must be what they say, and the checksum must hold.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), Malformed> {
    while !extensions.is_empty() {
        let Some(([kind, high, low], rest)) = extensions.split_first_chunk::<3>() else {
            return Err(Malformed::TooShort);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(Malformed::TooShort)?;
        if *kind == CHECKSUM {
            let told: [u8; 4] = value.try_into().map_err(|_| Malformed::Checksum)?;
            let end = header.len() - after.len();
            if checksum(header, end - told.len()..end) != u32::from_be_bytes(told) {
                return Err(Malformed::Checksum);
            }
        }
        extensions = after;
    }
    Ok(())
}

/// CRC-32C of a header in which these bytes, its checksum, count as zeroes.
fn checksum(header: &[u8], zeroed: std::ops::Range<usize>) -> u32 {
    let mut sum = u32::MAX;
    for (at, byte) in header.iter().enumerate() {
        sum ^= if zeroed.contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            sum = (sum >> 1) ^ (CASTAGNOLI & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend((block.len() as u16).to_be_bytes());
        header.extend(block);
        header
    }

    /// 203.0.113.7:5 to 192.0.2.1:443.
    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0, 5, 1, 187];

    fn named(address: &str) -> Client {
        Client::Address(address.parse().unwrap())
    }

    /// With a checksum at the end, as its sender writes it.
    fn summed(block: &[u8]) -> Vec<u8> {
        let mut header = binary(0x21, 0x11, &[block, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat());
        let end = header.len();
        let sum = checksum(&header, end - 4..end);
        header[end - 4..].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn valid() -> Vec<(Vec<u8>, Client)> {
        let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        let mut mapped = [0; 36];
        mapped[..16].copy_from_slice(&"::ffff:203.0.113.7".parse::<Ipv6Addr>().unwrap().octets());
        let with = |extensions: &[u8]| [&V4[..], extensions].concat();
        vec![
            (line("TCP4 203.0.113.7 192.0.2.1 5 443"), named("203.0.113.7")),
            (line("TCP6 2001:DB8::7 ::1 0 65535"), named("2001:db8::7")),
            (line("TCP6 ::ffff:203.0.113.7 ::1 1 2"), named("203.0.113.7")),
            (line("UNKNOWN"), Client::Unknown),
            (line(&format!("UNKNOWN {0} {0} 65535 65535", "ffff:".repeat(7) + "ffff")), Client::Unknown),
            (binary(0x20, 0, &[]), Client::Sender),
            (binary(0x20, 0xff, &[1, 2, 3]), Client::Sender),
            (binary(0x20, 0x11, &V4), Client::Sender),
            (binary(0x21, 0x11, &V4), named("203.0.113.7")),
            (binary(0x21, 0x21, &v6), named("2001:db8::7")),
            (binary(0x21, 0x21, &mapped), named("203.0.113.7")),
            (binary(0x21, 0x12, &V4), Client::Unknown),
            (binary(0x21, 0x31, &[0; 216]), Client::Unknown),
            (binary(0x21, 0, &[9; 40]), Client::Unknown),
            (binary(0x21, 0x11, &with(&[4, 0, 0, 0xea, 0, 2, 1, 1])), named("203.0.113.7")),
            (
                binary(0x21, 0x11, &with(&[4, 1, 249].iter().copied().chain([0; 505]).collect::<Vec<_>>())),
                named("203.0.113.7"),
            ),
            (summed(&V4), named("203.0.113.7")),
        ]
    }

    #[test]
    fn every_header_is_read_wherever_it_is_cut() {
        for (header, client) in valid() {
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), Ok(None), "{end} of {header:?}");
            }
            let bytes = header.len();
            for after in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n", SIGNATURE] {
                let whole = [&header, after].concat();
                assert_eq!(read(&whole), Ok(Some(Header { client, bytes })), "{header:?} {after:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_clear() {
        for (bytes, problem) in [
            (&b"GET / HTTP/1.1"[..], Malformed::Absent),
            (b"\x16\x03\x01", Malformed::Absent),
            (b"PROXY\t", Malformed::Absent),
            (b"proxy TCP4 ", Malformed::Absent),
            (b"\r\n\r\n\0\r\nQUIP", Malformed::Absent),
        ] {
            assert_eq!(read(bytes), Err(problem), "{bytes:?}");
        }
        for line in [
            "TCP4 203.0.113.7 192.0.2.1 5",
            "TCP4 203.0.113.7 192.0.2.1 5 443 ",
            "TCP4  203.0.113.7 192.0.2.1 5 443",
            "TCP4 203.0.113.07 192.0.2.1 5 443",
            "TCP4 203.0.113.7 192.0.2.1 05 443",
            "TCP4 203.0.113.7 192.0.2.1 +5 443",
            "TCP4 203.0.113.7 192.0.2.1 5 65536",
            "TCP4 203.0.113.7 ::1 5 443",
            "TCP4 ::1 ::1 5 443",
            "TCP6 fe80::1%eth0 ::1 5 443",
            "TCP6 203.0.113.7 192.0.2.1 5 443",
            "TCP5 203.0.113.7 192.0.2.1 5 443",
            "UNKNOWNS",
            "unknown",
            "",
            "TCP4 203.0.113.7\r192.0.2.1 5 443",
            "TCP4 203.0.113.7\n",
        ] {
            assert_eq!(read(format!("PROXY {line}\r\n").as_bytes()), Err(Malformed::Line), "{line}");
        }
        let endless = format!("PROXY UNKNOWN {}", "f".repeat(LINE_BYTES_MAX));
        assert_eq!(read(endless.as_bytes()), Err(Malformed::Line));
        assert_eq!(read(&endless.as_bytes()[..LINE_BYTES_MAX - 1]), Ok(None));
        let mut forged = summed(&V4);
        forged[16] ^= 1;
        for (header, problem) in [
            (binary(0x11, 0x11, &V4), Malformed::Command),
            (binary(0x22, 0x11, &V4), Malformed::Command),
            (binary(0x21, 0x41, &V4), Malformed::Family),
            (binary(0x21, 0x13, &V4), Malformed::Family),
            (binary(0x21, 0x11, &V4[..11]), Malformed::TooShort),
            (binary(0x21, 0x21, &V4), Malformed::TooShort),
            (binary(0x21, 0x11, &[0; 521]), Malformed::TooLong),
            (binary(0x21, 0x11, &[&V4[..], &[4, 0]].concat()), Malformed::TooShort),
            (binary(0x21, 0x11, &[&V4[..], &[4, 0, 2, 0]].concat()), Malformed::TooShort),
            (binary(0x21, 0x11, &[&V4[..], &[CHECKSUM, 0, 2, 0, 0]].concat()), Malformed::Checksum),
            (forged, Malformed::Checksum),
        ] {
            assert_eq!(read(&header), Err(problem), "{header:?}");
        }
        // A length that is too large is refused before any of it has come.
        assert_eq!(read(&binary(0x21, 0x11, &[0; 521])[..16]), Err(Malformed::TooLong));
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms.
        assert_eq!(checksum(b"123456789", 0..0), 0xe306_9283);
    }

    fn near() -> impl Strategy<Value = Vec<u8>> {
        let anything = prop::collection::vec(any::<u8>(), 0..600);
        let changed = (0..valid().len(), any::<prop::sample::Index>(), any::<u8>(), any::<Vec<u8>>());
        let changed = changed.prop_map(|(which, at, byte, after)| {
            let mut header = valid().swap_remove(which).0;
            let at = at.index(header.len());
            header[at] = byte;
            header.extend(after);
            header
        });
        let started =
            prop::collection::vec(any::<u8>(), 0..560).prop_map(|rest| [&SIGNATURE[..], &rest].concat());
        prop_oneof![1 => anything, 2 => changed, 2 => started]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// However the bytes come: an answer, once given, is never another with more of them.
        #[test]
        fn no_bytes_panic_and_no_cut_changes_the_answer(bytes in near()) {
            let mut before = Ok(None);
            for end in 0..=bytes.len() {
                let now = read(&bytes[..end]);
                if before != Ok(None) {
                    prop_assert_eq!(now, before, "at {}", end);
                }
                if let Ok(Some(header)) = now {
                    prop_assert!(header.bytes <= end && header.bytes <= HEADER_BYTES_MAX);
                }
                before = now;
            }
        }
    }
}
