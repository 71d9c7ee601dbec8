//! How many connections are there room for? More than there are seats, or descriptors: against the real process.

use crate::edge::{counted, until_turned_away};
use crate::house::organisation;
use crate::http::{self, Connection};
use crate::keys::key;
use crate::process::until;
use crate::processes::{ENDLESS, site};

#[test]
fn more_connections_than_seats_are_closed_and_a_seat_is_given_back() {
    for (limit, reason) in
        [("connections = 2", "connections"), ("connections_per_address = 2", "connections_per_address")]
    {
        let site = site(&format!("[limits]\n{limit}"));
        let begun = || {
            let mut stream = Connection::open(site.house.proxy);
            stream.send(&http::chat(&key("acme").secret, ENDLESS));
            (stream.head().status == 200).then_some(stream)
        };
        let first = begun().unwrap();
        let _second = begun().unwrap();
        assert!(begun().is_none(), "{limit}");
        until_turned_away(&site.house, reason, 1);
        assert_eq!(counted(&site.house, "palisade_connections"), 2);
        // The desks have seats of their own.
        assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
        drop(first);
        until("the seat is free", || begun().map(|_| ()));
    }
}

#[test]
fn connections_are_turned_away_before_descriptors_run_out() {
    let mut site = site("");
    site.house.stop();
    // 64 are kept back, and each connection takes two.
    site.house.launch_by("ulimit -n 84; exec \"$0\" \"$@\"");
    let said = site.house.process.as_ref().unwrap().log();
    assert!(said.contains("LimitNOFILE") && said.contains("131136"), "{said}");
    let begun = || {
        let mut stream = Connection::open(site.house.proxy);
        stream.send(&http::chat(&key("acme").secret, ENDLESS));
        let head = stream.head();
        (head.status == 200).then_some((stream, head))
    };
    let streams: Vec<(Connection, http::Answer)> = std::iter::from_fn(begun).take(40).collect();
    assert_eq!(streams.len(), 10);
    until_turned_away(&site.house, "connections", 1);
    // There is room for documents, and for those who ask how it goes.
    assert_eq!(http::get(site.house.admin, "/readyz").status, 200);
    site.house.write("acme", &organisation("acme", "suspended = true").1);
    for (mut stream, mut answer) in streams {
        while stream.chunk(&mut answer) {}
        assert!(answer.text().contains("invalid_api_key"), "{}", answer.text());
    }
}
