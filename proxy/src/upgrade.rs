//! How does a new process take the place of an old one, so that no connection is refused meanwhile?
//!
//! The old one keeps a socket in the data folder. Whoever may connect there, and is the same user, is handed the very
//! sockets that are listened on, one a message, so that connections that wait to be accepted wait for either process.
//! Once the new one serves, it says so, and the old one leaves. If it ends before that, nothing has changed. Sockets
//! that systemd opened are taken the same way. Does not: move connections that are under way; they end where they
//! began.

use crate::listen::{Address, SocketFile};
use anyhow::{Context, Result, bail};
use listenfd::ListenFd;
use parking_lot::Mutex;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// The socket's name in the data folder.
const SOCKET: &str = "upgrade.sock";
/// A message names one listener.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Successors that may wait while another one starts.
const BACKLOG: i32 = 4;

/// A listening socket, kept to be handed on.
pub(crate) struct Spare {
    /// What it is for.
    pub(crate) door: &'static str,
    /// Where the configuration says to listen: not where, if any port would do.
    pub(crate) listen: String,
    pub(crate) socket: OwnedFd,
}

/// The sockets to hand on. They are dropped with the doors: a socket that nobody accepts from must be closed.
pub(crate) type Spares = Arc<Mutex<Vec<Spare>>>;

/// What is said over the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// A socket comes with this.
    Listener { door: String, listen: String },
    /// That was all of them.
    All,
    /// The new process serves.
    Serving,
}

/// A socket that another process has opened.
struct Opened {
    /// What for; systemd does not say.
    door: Option<String>,
    /// Where the opener was told to listen.
    listen: String,
    socket: OwnedFd,
}

/// Sockets from elsewhere, to be listened on in the place of new ones.
#[derive(Default)]
pub(crate) struct Inherited {
    opened: Vec<Opened>,
    predecessor: Option<OwnedFd>,
}

impl Inherited {
    /// Those that systemd opened, if it did.
    pub(crate) fn from_systemd() -> Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut opened = Vec::with_capacity(passed.len());
        for number in 0..passed.len() {
            let listener = passed.take_tcp_listener(number);
            let listener =
                listener.with_context(|| format!("socket {number} of `LISTEN_FDS` is no TCP listener"))?;
            if let Some(listener) = listener {
                let listen = listener.local_addr()?.to_string();
                opened.push(Opened { door: None, listen, socket: listener.into() });
            }
        }
        Ok(Self { opened, predecessor: None })
    }

    /// Those of the process that serves this data folder.
    pub(crate) fn from_predecessor(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(SOCKET);
        let connected = seqpacket().and_then(|socket| {
            net::connect(&socket, &SocketAddrUnix::new(&path)?)?;
            Ok(socket)
        });
        let predecessor = connected.with_context(|| {
            format!(
                "nobody hands over at `{}`; to start the first process, leave out `--upgrade`",
                path.display()
            )
        })?;
        let mut opened = Vec::new();
        loop {
            match receive(&predecessor).context("the hand-over broke off")? {
                Some((Message::Listener { door, listen }, Some(socket))) => {
                    opened.push(Opened { door: Some(door), listen, socket });
                }
                Some((Message::All, None)) => break,
                Some((message, _)) => bail!("the hand-over makes no sense: {message:?}"),
                None => bail!("the process at `{}` ended", path.display()),
            }
        }
        Ok(Self { opened, predecessor: Some(predecessor) })
    }

    /// Whether another process serves the same data folder for a while.
    pub(crate) fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Takes what was opened for this door.
    pub(crate) fn take(&mut self, door: &str, listen: &str) -> Vec<OwnedFd> {
        let is_meant = |opened: &mut Opened| {
            opened.listen == listen && opened.door.as_ref().is_none_or(|for_door| for_door == door)
        };
        self.opened.extract_if(.., is_meant).map(|opened| opened.socket).collect()
    }

    /// Tells the predecessor, if there is one, that it can go. Sockets that nobody took are closed.
    pub(crate) fn serving(self) {
        for unused in &self.opened {
            tracing::warn!(
                address = unused.listen,
                "a socket that was handed over is not in the configuration, and is closed"
            );
            // Nobody else removes its file: its former owner leaves it to the process that took over.
            if let Ok(Address::Unix(path)) = unused.listen.parse()
                && let Ok(mut file) = SocketFile::lent(&path)
            {
                file.own();
            }
        }
        let Some(predecessor) = self.predecessor else { return };
        if let Err(error) = send(&predecessor, &Message::Serving, None) {
            tracing::warn!(%error, "the former process is gone already");
        }
    }
}

/// Where a successor asks. The file goes with it, unless a successor has put its own there.
pub(crate) struct Post {
    path: PathBuf,
}

impl Post {
    /// Waits for successors on a thread of its own, and rings once one of them serves.
    pub(crate) fn open(data_dir: &Path, spares: Spares, relieved: Arc<Notify>) -> Result<Self> {
        let path = data_dir.join(SOCKET);
        let beside = data_dir.join(format!(".{SOCKET}.{}", std::process::id()));
        let _stale = std::fs::remove_file(&beside);
        let socket = seqpacket()?;
        net::bind(&socket, &SocketAddrUnix::new(&beside)?)?;
        net::listen(&socket, BACKLOG)?;
        // A successor asks at the name, and finds either process there, never none.
        std::fs::rename(&beside, &path)?;
        let thread = std::thread::Builder::new().name("palisade-upgrade".to_owned());
        thread.spawn(move || {
            loop {
                match net::accept_with(&socket, SocketFlags::CLOEXEC)
                    .and_then(|peer| hand_over(&peer, &spares))
                {
                    Ok(true) => return relieved.notify_one(),
                    Ok(false) => tracing::warn!("a new process ended before it served; this one goes on"),
                    Err(error) => tracing::warn!(%error, "nothing was handed over; this process goes on"),
                }
            }
        })?;
        Ok(Self { path })
    }

    /// Nobody is to ask here any more: the process ends without a successor.
    pub(crate) fn close(&self) {
        // It may be gone with the folder.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Sends every socket, and waits for the word that they are in use.
fn hand_over(peer: &OwnedFd, spares: &Spares) -> rustix::io::Result<bool> {
    // The folder is its owner's alone already; this holds if somebody opened it.
    if net::sockopt::socket_peercred(peer)?.uid != rustix::process::geteuid() {
        return Err(rustix::io::Errno::PERM);
    }
    for spare in spares.lock().iter() {
        let message = Message::Listener { door: spare.door.to_owned(), listen: spare.listen.clone() };
        send(peer, &message, Some(&spare.socket))?;
    }
    send(peer, &Message::All, None)?;
    // No limit: whether the other one lives is seen by the connection.
    Ok(matches!(receive(peer)?, Some((Message::Serving, None))))
}

/// Messages keep their bounds, so that a socket comes with its name.
fn seqpacket() -> rustix::io::Result<OwnedFd> {
    net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn send(peer: &OwnedFd, message: &Message, socket: Option<&OwnedFd>) -> rustix::io::Result<()> {
    let text = serde_json::to_vec(message).map_err(|_| rustix::io::Errno::INVAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = socket.map(|socket| [socket.as_fd()]);
    if let Some(sockets) = &sockets {
        control.push(SendAncillaryMessage::ScmRights(sockets));
    }
    net::sendmsg(peer, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message, with the socket that came along; nothing at the connection's end.
fn receive(peer: &OwnedFd) -> rustix::io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut text = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        net::recvmsg(peer, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
            socket = sockets.next();
        }
    }
    let text = text.get(..received.bytes).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    let message = serde_json::from_slice(text).map_err(|_| rustix::io::Errno::BADMSG)?;
    Ok(Some((message, socket)))
}

/// Starts a successor: the same program, as it is on the disk now, with the same arguments.
pub(crate) fn start_successor(program: &Path) -> Result<()> {
    const FLAG: &str = "--upgrade";
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if !arguments.iter().any(|argument| argument == FLAG) {
        arguments.push(FLAG.into());
    }
    let started = std::process::Command::new(program).args(arguments).spawn();
    let mut child = started.with_context(|| format!("cannot start `{}`", program.display()))?;
    tracing::info!(program = %program.display(), process = child.id(), "a new process was started to take over");
    // Somebody must hear of its end, or it stays in the table of processes.
    std::thread::Builder::new().name("palisade-successor".to_owned()).spawn(move || match child.wait() {
        Ok(status) => tracing::warn!(%status, "the new process ended"),
        Err(error) => tracing::warn!(%error, "the new process cannot be waited for"),
    })?;
    Ok(())
}
