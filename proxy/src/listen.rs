//! Where does this process listen, and whom does it believe there? Addresses of the network, and sockets in the file
//! system.
//!
//! Needs what the operator wrote; proves a bound listener. A unix socket appears whole, with its permissions, in one
//! step; what is left of a dead process is replaced, a living one's is not. It goes when its owner goes, unless
//! somebody else put another in its place.

use anyhow::{Context, Result, bail};
use palisade_filters::forwarded::TrustedProxies;
use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fmt;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// What an address in the file system begins with.
const UNIX: &str = "unix:";
/// Only the owner and its group connect, unless the operator says otherwise.
const MODE_DEFAULT: u32 = 0o660;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Address {
    /// An address and a port; port 0 takes a free one.
    Inet(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            // The kernel's limit, with a zero and a few letters for the name it has before it is ready.
            return match path.len() {
                2..=90 if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
                _ => Err(format!("`{text}` is not `unix:` and an absolute path of at most 90 bytes")),
            };
        }
        let unreadable = || {
            format!(
                "`{text}` is neither an address with a port, such as `127.0.0.1:8080`, nor `unix:/a/path`"
            )
        };
        text.parse().map(Self::Inet).map_err(|_| unreadable())
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "{UNIX}{}", path.display()),
        }
    }
}

/// Who may connect to a unix socket: permission bits, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Mode(u32);

impl Default for Mode {
    fn default() -> Self {
        Self(MODE_DEFAULT)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            Ok(_) | Err(_) => Err(format!("`{text}` is not permission bits in octal, such as `0660`")),
        }
    }
}

impl Mode {
    pub(crate) fn permissions(self) -> Permissions {
        Permissions::from_mode(self.0)
    }
}

/// A listener, as it is set up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// Where.
    #[serde(rename = "listen")]
    pub(crate) address: Address,
    /// Who may connect to a unix socket.
    pub(crate) mode: Option<Mode>,
    /// Certificate and key; without them, plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// Who says which address a request comes from.
    #[serde(default)]
    pub(crate) client_address: ClientAddress,
    /// Whom to believe, if it is not the socket.
    #[serde(default)]
    pub(crate) trusted_proxies: Vec<String>,
}

/// Files of a certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM, the chain.
    pub(crate) certificate: PathBuf,
    /// PEM, the key.
    pub(crate) key: PathBuf,
    /// PEM, the authorities that clients' certificates come from; without them, no certificate is asked for.
    pub(crate) client_ca: Option<PathBuf>,
    /// Whether a client must have one; it must, unless this says otherwise.
    pub(crate) client_certificates: Option<ClientCertificates>,
}

/// Whether clients must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientCertificates {
    /// No certificate, no connection.
    Required,
    /// One that is shown must be right; none is right too.
    Optional,
}

/// Where the client's address comes from: one source, never two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAddress {
    /// The other end of the socket.
    #[default]
    Socket,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// The header of the PROXY protocol, version 1 or 2.
    ProxyProtocol,
}

impl ClientAddress {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::XForwardedFor => "x_forwarded_for",
            Self::Forwarded => "forwarded",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }
}

impl Listen {
    /// A listener on loopback.
    pub(crate) fn local(port: u16) -> Self {
        let address = Address::Inet(SocketAddr::from(([127, 0, 0, 1], port)));
        let (client_address, trusted_proxies) = (ClientAddress::Socket, Vec::new());
        Self { address, mode: None, tls: None, client_address, trusted_proxies }
    }

    /// What of it cannot be meant.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        let trusted = TrustedProxies::compile(&self.trusted_proxies)
            .map_err(|problem| format!("`{name}.trusted_proxies`: {problem}"))?;
        let believes = self.client_address != ClientAddress::Socket;
        if !["proxy", "api"].contains(&name) && (believes || !trusted.is_empty()) {
            return Err(format!(
                "`client_address` and `trusted_proxies` are for `[proxy]` and `[api]`, not for `[{name}]`"
            ));
        }
        if believes && trusted.is_empty() {
            return Err(
                "`client_address` needs `trusted_proxies`: without them anybody could be anybody".to_owned()
            );
        }
        if !believes && !trusted.is_empty() {
            return Err(
                "`trusted_proxies` says whom to believe; say what of them with `client_address`".to_owned()
            );
        }
        if self.mode.is_some() && matches!(self.address, Address::Inet(_)) {
            return Err(format!("`{name}.mode` is for unix sockets; leave it out"));
        }
        match &self.tls {
            Some(tls) if tls.client_certificates.is_some() && tls.client_ca.is_none() => Err(format!(
                "`{name}.tls.client_certificates` needs `client_ca`, the authorities that they come from"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// Binds a port. A shared one is for several workers of one process.
pub(crate) fn bind(address: SocketAddr, is_shared: bool) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    let bound = socket.bind(&address.into());
    bound.with_context(|| format!("cannot listen on {address}; is another process there?"))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Binds a unix socket.
pub(crate) fn bind_unix(path: &Path, mode: Mode) -> Result<(Socket, SocketFile)> {
    refuse_another(path)?;
    // Made beside and moved into place: nobody ever finds it with other permissions, or not listening.
    let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let _ = fs::remove_file(&beside);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let cannot = || format!("cannot listen on `{}`; its folder must be there and writable", path.display());
    socket.bind(&SockAddr::unix(&beside)?).with_context(cannot)?;
    let in_place = fs::set_permissions(&beside, mode.permissions())
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = in_place {
        let _ = fs::remove_file(&beside);
        return Err(error).with_context(cannot);
    }
    let inode = fs::symlink_metadata(path)?.ino();
    Ok((socket, SocketFile { path: path.to_owned(), inode }))
}

/// A file that is no socket is somebody's data; a socket that answers is somebody's door.
fn refuse_another(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at `{}`", path.display())),
        Ok(found) if !found.file_type().is_socket() => {
            bail!("cannot listen on `{}`: there is a file that is no socket", path.display())
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Ok(_) | Err(_) => bail!("cannot listen on `{}`; is another process there?", path.display()),
    }
}

/// The file of a unix socket, removed when nobody listens any more.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// The number of no file.
const NOBODYS: u64 = 0;

impl SocketFile {
    /// The file of a socket that was handed over. Its former owner may serve on, so it is not this process's to remove.
    pub(crate) fn lent(path: &Path) -> Result<Self> {
        fs::symlink_metadata(path).with_context(|| format!("`{}` is gone", path.display()))?;
        Ok(Self { path: path.to_owned(), inode: NOBODYS })
    }

    /// It goes with this process from now on.
    pub(crate) fn own(&mut self) {
        let found = fs::symlink_metadata(&self.path).ok().filter(|found| found.file_type().is_socket());
        self.inode = found.map_or(NOBODYS, |found| found.ino());
    }

    /// Leaves it where it is.
    pub(crate) fn leave(mut self) {
        self.inode = NOBODYS;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A process that took over has a socket of its own here.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let of = |text: &str| toml::from_str::<Listen>(&format!("listen = \"127.0.0.1:0\"\n{text}"));
        let tls = "certificate = \"a\", key = \"b\"";
        for text in [
            "client_address = \"x_forwarded_for\"".to_owned(),
            "trusted_proxies = [\"10.0.0.0/8\"]".to_owned(),
            "client_address = \"forwarded\"\ntrusted_proxies = [\"0.0.0.0/0\"]".to_owned(),
            "mode = \"0600\"".to_owned(),
            format!("tls = {{ {tls}, client_certificates = \"optional\" }}"),
        ] {
            assert!(of(&text).unwrap().check("proxy").is_err(), "{text}");
        }
        let good =
            of("client_address = \"proxy_protocol\"\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]").unwrap();
        assert_eq!(good.check("proxy"), Ok(()));
        assert_eq!(good.check("api"), Ok(()));
        assert!(good.check("admin").is_err(), "a desk asks nobody's address");
        assert_eq!(of(&format!("tls = {{ {tls}, client_ca = \"c\" }}")).unwrap().check("admin"), Ok(()));
        assert!(of("client_address = \"both\"").is_err());
    }

    #[test]
    fn addresses_and_modes_are_read_as_they_are_written() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/palisade/proxy.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(90));
        for text in ["localhost:8080", "8080", "unix:proxy.sock", "unix:", "/run/x", "127.0.0.1", &long] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert_eq!(Mode::try_from("0600".to_owned()), Ok(Mode(0o600)));
        for text in ["", "rw", "0o660", "1777", "-1", "888"] {
            assert!(Mode::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
