//! What must hold for any bytes in the place of a key, of a PROXY header and of a header that names the client.

use palisade_filters::forwarded::{self, TrustedProxies};
use palisade_filters::{api_key, proxy_protocol};
use std::sync::LazyLock;

/// A presented key: what is read as one is one.
pub(crate) fn key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(key) = api_key::parse(text) {
        assert_eq!(text.len(), api_key::KEY_BYTES);
        assert!(text.contains(key.id));
    }
}

/// The start of a connection behind a balancer: what is read as a header is the same header with whatever follows, and
/// is none before its last byte.
pub(crate) fn proxy_header(data: &[u8]) {
    let Ok(Some(header)) = proxy_protocol::read(data) else { return };
    assert!(header.bytes <= proxy_protocol::HEADER_BYTES_MAX);
    let (own, _) = data.split_at(header.bytes);
    assert_eq!(proxy_protocol::read(own), Ok(Some(header)));
    let (_, short) = own.split_last().expect("a header has bytes");
    assert_eq!(proxy_protocol::read(short), Ok(None));
}

/// What a client writes before a proxy's own entry: it stays who it is, or is not read at all.
pub(crate) fn forwarded_for(data: &[u8]) {
    static TRUSTED: LazyLock<TrustedProxies> =
        LazyLock::new(|| TrustedProxies::compile(&["10.0.0.0/8".to_owned()]).unwrap());
    let real = Some([203, 0, 113, 7].into());
    let x = [data, b", 203.0.113.7, 10.0.0.1"].concat();
    assert_eq!(forwarded::x_forwarded_for([&x[..]].into_iter(), &TRUSTED), Ok(real));
    let own_line = [data, b"for=203.0.113.7, for=10.0.0.1"];
    assert_eq!(forwarded::forwarded(own_line.into_iter(), &TRUSTED), Ok(real));
    let same_line = [data, b", for=203.0.113.7, for=10.0.0.1"].concat();
    let told = forwarded::forwarded([&same_line[..]].into_iter(), &TRUSTED);
    assert!(told == Ok(real) || told.is_err(), "{told:?}");
}
