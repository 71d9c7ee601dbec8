//! How often did this client come with a wrong key?
//!
//! Needs its address and the time; says whether one more wrong key is answered as such, or told to wait. Only wrong
//! keys are asked about: a right one passes from the same address at any time, so nobody is locked out by a neighbour
//! behind the same NAT, and a guesser still gains nothing, as keys have 256 random bits. Bounded: a full table forgets
//! those who are nearest to being forgiven. It counts addresses and remembers no keys.

use crate::connections::one_client;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// Groups of places; an address belongs to one of them.
const GROUPS: usize = 1024;
/// Places of a group: 8 192 addresses in all, about 400 KiB.
const PLACES: usize = 8;
/// The time in which the allowed number of wrong keys is forgiven.
const WINDOW_MS: u64 = 60_000;

/// The table.
pub(crate) struct Guesses {
    groups: Vec<Mutex<[Place; PLACES]>>,
    /// Keyed by chance, so that nobody can choose whom to push out.
    hasher: RandomState,
}

/// What is remembered of one client.
#[derive(Clone, Copy, Default)]
struct Place {
    /// None: its address is not known, which is one client too.
    client: Option<IpAddr>,
    /// When all is forgiven, in milliseconds since 1970. A moment in the past is an empty place.
    forgiven_ms: u64,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        Self { groups: (0..GROUPS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Counts a wrong key. Past so many a minute, how many milliseconds to wait.
    pub(crate) fn count(&self, address: Option<IpAddr>, a_minute: u32, now_ms: u64) -> Result<(), u64> {
        let client = address.map(one_client);
        let at = self.hasher.hash_one(client) as usize % GROUPS;
        let Some(group) = self.groups.get(at) else { return Ok(()) };
        let mut places = group.lock();
        let known = |place: &&mut Place| place.client == client && place.forgiven_ms > now_ms;
        let place = if let Some(place) = places.iter_mut().find(known) {
            place
        } else {
            let Some(oldest) = places.iter_mut().min_by_key(|place| place.forgiven_ms) else {
                return Ok(());
            };
            *oldest = Place { client, forgiven_ms: now_ms };
            oldest
        };
        // A leaky bucket: each wrong key costs its share of the window, and the window is the most that is owed.
        let cost = WINDOW_MS.div_ceil(u64::from(a_minute.max(1)));
        let owed = (place.forgiven_ms + cost).saturating_sub(now_ms);
        if owed > WINDOW_MS {
            return Err(owed - WINDOW_MS);
        }
        place.forgiven_ms += cost;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_893_456_000_000;

    #[expect(clippy::unnecessary_wraps, reason = "as it is asked about")]
    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn so_many_a_minute_are_answered_and_the_rest_wait() {
        let guesses = Guesses::new();
        for client in [address("203.0.113.7"), address("2001:db8::1"), None] {
            for _ in 0..3 {
                assert_eq!(guesses.count(client, 3, NOW), Ok(()));
            }
            assert_eq!(guesses.count(client, 3, NOW), Err(20_000), "{client:?}");
            // To insist makes it no longer.
            assert_eq!(guesses.count(client, 3, NOW + 19_999), Err(1));
            assert_eq!(guesses.count(client, 3, NOW + 20_000), Ok(()));
            assert_eq!(guesses.count(client, 3, NOW + 20_000), Err(20_000));
        }
        assert_eq!(guesses.count(address("2001:db8::ffff"), 3, NOW + 20_000), Err(20_000), "one /64");
        assert_eq!(guesses.count(address("2001:db8:0:1::1"), 3, NOW + 20_000), Ok(()));
        assert_eq!(guesses.count(address("::ffff:203.0.113.7"), 3, NOW + 20_000), Err(20_000));
        assert_eq!(guesses.count(address("203.0.113.8"), 3, NOW + 20_000), Ok(()));
    }

    #[test]
    fn many_addresses_take_no_more_room_and_forgive_the_least_first() {
        let guesses = Guesses::new();
        let loud = address("203.0.113.7");
        while guesses.count(loud, 60, NOW).is_ok() {}
        let rooms = GROUPS * PLACES;
        for n in 0..rooms as u32 * 4 {
            assert_eq!(guesses.count(Some(std::net::Ipv4Addr::from(n).into()), 60, NOW), Ok(()));
        }
        assert!(guesses.count(loud, 60, NOW).is_err(), "who owes most is remembered longest");
    }
}
