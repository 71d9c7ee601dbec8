//! What does the service manager hear? `sd_notify(3)`, where `NOTIFY_SOCKET` says that somebody listens.
//!
//! One datagram of text. Nothing depends on its arrival.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Says that this process serves; after an upgrade it is another one than was started.
pub(crate) fn serving() {
    tell(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// Says that it is about to end.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

fn tell(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = address(name.as_bytes()).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(text.as_bytes(), &address)
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager cannot be told: `NOTIFY_SOCKET` leads nowhere");
    }
}

/// A path, or with `@` a name without a file.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    }
}
