//! How does the process leave without losing a request? Told to stop, or relieved by its successor.
//!
//! Readiness goes first, and the doors stay open for `drain_grace`: until whoever balances has heard of it, connections
//! still come. Every answer from then on ends its connection. Then the doors and idle connections close, and what is
//! under way may end within `drain_timeout`; what does not is told so. A process that was relieved closes its doors
//! first, as its successor holds the same sockets. A second signal cuts each wait short.

use crate::config::Config;
use crate::house::House;
use crate::server::Server;
use crate::systemd;
use anyhow::Result;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exchanges that are told that the drain is over may say so to their clients for this long.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The signals that are answered.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

/// What a signal asks for.
pub(crate) enum Order {
    /// SIGHUP: documents and configuration are to be read again.
    Reload,
    /// SIGUSR2: a new process is to take over.
    Upgrade,
    /// The process is to end.
    Leave(Leaving),
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// SIGTERM: an orchestrator, which tells others meanwhile.
    Terminated,
    /// SIGINT: somebody at a terminal, who waits.
    Interrupted,
    /// A new process serves in its place, from the same sockets.
    Relieved,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Leave(Leaving::Terminated),
            _ = self.interrupt.recv() => Order::Leave(Leaving::Interrupted),
            _ = self.hangup.recv() => Order::Reload,
            _ = self.upgrade.recv() => Order::Upgrade,
        }
    }

    /// Waits for one that ends a wait.
    async fn again(&mut self) {
        while let Order::Reload | Order::Upgrade = self.next().await {}
    }
}

/// What tells the parts of the server to end.
pub(crate) struct Bells {
    /// No connection is accepted any more.
    pub(crate) stop: watch::Sender<bool>,
    /// Idle connections end.
    pub(crate) close: watch::Sender<bool>,
    /// Health and metrics end too.
    pub(crate) end: watch::Sender<bool>,
}

impl Bells {
    pub(crate) fn new() -> Self {
        Self {
            stop: watch::Sender::new(false),
            close: watch::Sender::new(false),
            end: watch::Sender::new(false),
        }
    }
}

/// Leaves, in the order above.
pub(crate) async fn leave(
    why: Leaving,
    config: &Config,
    house: &House,
    server: &mut Server,
    bells: &Bells,
    signals: &mut Signals,
) {
    house.is_stopping.store(true, Ordering::Release);
    tracing::info!(?why, in_flight = house.in_flight(), grace = ?config.drain_grace, "stopping: not ready any more");
    if why != Leaving::Relieved {
        systemd::stopping();
    }
    let grace = match why {
        Leaving::Terminated => config.drain_grace,
        Leaving::Interrupted => Duration::ZERO,
        Leaving::Relieved => {
            server.leave_files();
            // The desks too: what they say is not true of the process that serves.
            bells.stop.send_replace(true);
            bells.end.send_replace(true);
            server.closed().await;
            config.drain_grace
        }
    };
    tokio::select! {
        () = tokio::time::sleep(grace) => {}
        () = signals.again() => {}
    }
    bells.stop.send_replace(true);
    bells.close.send_replace(true);
    server.closed().await;
    tracing::info!(in_flight = house.in_flight(), limit = ?config.drain_timeout, "stopping: nothing is accepted any more");
    tokio::select! {
        drained = tokio::time::timeout(config.drain_timeout, house.drained()) => {
            if drained.is_err() {
                tracing::warn!(in_flight = house.in_flight(), "exchanges are cut off: `drain_timeout` is over");
            }
        }
        () = signals.again() => tracing::warn!(in_flight = house.in_flight(), "exchanges are cut off: told to stop again"),
    }
    house.cut();
    // Whoever does not read, or still sends, is left behind.
    let _ = tokio::time::timeout(LAST_WORDS, house.drained()).await;
    bells.end.send_replace(true);
}
