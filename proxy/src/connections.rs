//! How many connections are open, and how many of them are one client's?
//!
//! Needs the limits of both; proves a [`Seat`], which is given back when the connection ends. Counting is done once a
//! connection, never on a request's way.

use parking_lot::Mutex;
use prometheus::IntGauge;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Locks among which addresses are spread.
const SHARDS: usize = 16;

/// The open connections of the data plane.
pub(crate) struct Connections {
    /// Past so many, whatever the limits say.
    seats: usize,
    open: AtomicUsize,
    /// The same, for the metrics page.
    gauge: IntGauge,
    /// Those of each address that has any: as many entries as connections at most.
    shards: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
}

/// One open connection, until it is dropped.
pub(crate) struct Seat {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Connections {
    pub(crate) fn new(seats: usize, gauge: IntGauge) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { seats, open: AtomicUsize::new(0), gauge, shards, hasher: RandomState::new() }
    }

    /// Takes a seat, if one of so many is free.
    pub(crate) fn enter(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        self.gauge.inc();
        let seat = Seat { connections: self.clone(), address: None };
        (before < most.min(self.seats)).then_some(seat)
    }

    fn shard(&self, address: IpAddr) -> Option<&Mutex<HashMap<IpAddr, usize>>> {
        self.shards.get(self.hasher.hash_one(address) as usize % SHARDS)
    }
}

impl Seat {
    /// Counts the connection as this address's, if it has fewer than so many.
    pub(crate) fn of(&mut self, address: IpAddr, most: usize) -> bool {
        let address = one_client(address);
        let Some(shard) = self.connections.shard(address) else { return false };
        let mut open = shard.lock();
        let count = open.entry(address).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        drop(open);
        self.address = Some(address);
        true
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::AcqRel);
        self.connections.gauge.dec();
        let Some(address) = self.address else { return };
        let Some(shard) = self.connections.shard(address) else { return };
        if let Entry::Occupied(mut count) = shard.lock().entry(address) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber has.
pub(crate) fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_for_all_and_for_each_and_given_back() {
        let gauge = IntGauge::new("open", "Open.").unwrap();
        let connections = Arc::new(Connections::new(9, gauge.clone()));
        let seat = |address: &str| {
            let mut seat = connections.enter(3)?;
            seat.of(address.parse().unwrap(), 2).then_some(seat)
        };
        // One subscriber's addresses are one client's, in either notation.
        let one = [seat("2001:db8::1").unwrap(), seat("2001:db8::ffff:1").unwrap()];
        assert!(seat("2001:db8::2").is_none() && seat("2001:db8:0:1::1").is_some());
        let other = seat("203.0.113.7").unwrap();
        assert!(seat("203.0.113.8").is_none(), "all seats are taken");
        assert_eq!(gauge.get(), 3);
        drop((one, other));
        let again = [seat("::ffff:203.0.113.7").unwrap(), seat("203.0.113.7").unwrap()];
        assert!(seat("203.0.113.7").is_none());
        drop(again);
        assert_eq!((gauge.get(), connections.open.load(Ordering::Acquire)), (0, 0));
        assert!(connections.shards.iter().all(|shard| shard.lock().is_empty()), "nobody is remembered");
    }
}
