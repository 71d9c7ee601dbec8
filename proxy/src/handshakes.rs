//! Whose handshakes are under way, and who makes room for whom? Before they end, nobody knows who anybody is.
//!
//! A handshake costs nothing to begin, and who wants to keep others out leaves it unfinished. So there are few at once,
//! of all and of one address. Nobody is turned away for that: whoever has been at it for longest is, so that of those
//! who mean it, and are done in a moment, each gets in.

use crate::connections::one_client;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Those of one listener.
pub(crate) struct Handshakes {
    /// At once, and at once of one address.
    most: usize,
    each: usize,
    under_way: Mutex<UnderWay>,
}

/// In the order in which they began.
#[derive(Default)]
struct UnderWay {
    next: u64,
    begun: BTreeMap<u64, Begun>,
}

struct Begun {
    client: Option<IpAddr>,
    /// Dropped, if it has to make room.
    _stays: oneshot::Sender<()>,
}

/// One of them, until it is dropped.
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    number: u64,
    stays: oneshot::Receiver<()>,
}

impl Handshakes {
    pub(crate) fn new(most: usize, each: usize) -> Self {
        Self { most, each, under_way: Mutex::default() }
    }

    /// Begins one more. If these are too many, of this client or of all, the eldest of them ends.
    pub(crate) fn begin(self: &Arc<Self>, client: Option<IpAddr>) -> Handshake {
        let client = client.map(one_client);
        let (sender, stays) = oneshot::channel();
        let mut under_way = self.under_way.lock();
        let (number, begun) = (under_way.next, &mut under_way.begun);
        let own = begun.iter().filter(|(_, begun)| client.is_some() && begun.client == client);
        let (own, eldest_own) = (own.clone().count(), own.map(|(number, _)| *number).next());
        let eldest = begun.keys().next().copied();
        let ends = if own >= self.each { eldest_own } else { eldest.filter(|_| begun.len() >= self.most) };
        if let Some(ends) = ends {
            begun.remove(&ends);
        }
        begun.insert(number, Begun { client, _stays: sender });
        under_way.next += 1;
        drop(under_way);
        Handshake { handshakes: self.clone(), number, stays }
    }
}

impl Handshake {
    /// Waits until it has to make room.
    pub(crate) async fn makes_room(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.stays).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.under_way.lock().begun.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays(handshake: &mut Handshake) -> bool {
        matches!(handshake.stays.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn who_has_been_at_it_for_longest_makes_room() {
        let handshakes = Arc::new(Handshakes::new(5, 3));
        let begin = |client: &str| handshakes.begin(client.parse().ok());
        let mut strangers: Vec<_> = (0..4).map(|_| begin("203.0.113.7")).collect();
        assert_eq!(strangers.iter_mut().map(stays).collect::<Vec<_>>(), [false, true, true, true]);
        let mut others = [begin("198.51.100.1"), begin("198.51.100.2")];
        let mut one_more = begin("2001:db8::1");
        assert_eq!(strangers.iter_mut().map(stays).collect::<Vec<_>>(), [false, false, true, true]);
        assert!(others.iter_mut().chain([&mut one_more]).all(stays));
        // One subscriber's addresses are one client's.
        let mut more: Vec<_> = (2..5).map(|at| begin(&format!("2001:db8::{at}"))).collect();
        assert!(!stays(&mut one_more) && more.iter_mut().all(stays));
        drop((strangers, others, one_more, more));
        assert!(handshakes.under_way.lock().begun.is_empty(), "nobody is remembered");
    }

    #[test]
    fn whose_address_nobody_knows_is_counted_with_all_alone() {
        let handshakes = Arc::new(Handshakes::new(5, 3));
        let mut all: Vec<_> = (0..6).map(|_| handshakes.begin(None)).collect();
        assert_eq!(all.iter_mut().map(stays).collect::<Vec<_>>(), [false, true, true, true, true, true]);
    }
}
