//! Is what a proxy may ask for, and bring, bounded: in its time, its size and for whom it is?

use super::{Proxy, Room, fingerprint, public_key, stranger};
use crate::api::at;
use crate::world::{World, organisation};
use palisade_control::feed::{LIFETIME, body_bytes_max, wire};
use palisade_control::store::Store;
use palisade_control::usage::{self, Batch, Counts, Day, Row};
use palisade_filters::dlp::rules::Category;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

on_both! {
    a_certificate_is_signed_again_in_its_time_only
    usage_is_kept_for_whom_a_proxy_was_let_in_for
    what_is_brought_at_once_is_bounded
    what_cannot_be_meant_is_said
}

async fn a_certificate_is_signed_again_in_its_time_only(world: World) {
    let room = Room::new(world).await;
    let first = room.proxy(None).await;
    let renew = |with: &Proxy, now: SystemTime, key: &str| {
        let (proxy, asked) = (Proxy { now, ..with.clone() }, json!({ "public_key": key }));
        async move {
            let told = proxy.post::<wire::Renewed>("renew", &asked).await?;
            Ok::<_, (u16, String)>(Proxy { certificate: fingerprint(&told.certificate), ..proxy })
        }
    };
    let platform = || async { room.store.platform().all(&[]).await.unwrap().revision };
    let early = || (429, "too_soon".to_owned());
    let (keys, half) = ([public_key(), public_key(), public_key()], LIFETIME / 2);
    let before = platform().await;
    assert_eq!(renew(&first, at(0) + half - Duration::from_secs(1), &keys[0]).await.err(), Some(early()));
    assert_eq!(platform().await, before);
    let begun = at(0) + half;
    let second = renew(&first, begun, &keys[0]).await.unwrap();
    // Whoever did not hear it hears it again, however often they ask, and nobody is woken by that.
    let before = platform().await;
    for asking in [&first, &second] {
        for _ in 0..10 {
            let again = renew(asking, begun + Duration::from_mins(90), &keys[0]).await.unwrap();
            assert_eq!(again.certificate, second.certificate);
        }
        assert_eq!(renew(asking, begun + Duration::from_mins(59), &keys[1]).await.err(), Some(early()));
    }
    assert_eq!(platform().await, before);
    // Who has no use for it, as it is for another key, gets another one later, and keeps what they came with.
    let third = renew(&first, begun + Duration::from_hours(1), &keys[1]).await.unwrap();
    for holds in [&first, &third] {
        holds.get::<wire::End>("end").await.unwrap();
    }
    assert_eq!(second.get::<wire::End>("end").await.unwrap_err(), stranger(), "nobody heard of it");
    // Who comes with the newest uses it: what was there before it goes.
    let fourth = renew(&third, third.now + half, &keys[2]).await.unwrap();
    for holds in [&Proxy { now: fourth.now, ..third.clone() }, &fourth] {
        holds.get::<wire::End>("end").await.unwrap();
    }
    assert_eq!(first.get::<wire::End>("end").await.unwrap_err(), stranger());
    // At once, for one key, they get one certificate.
    let now = fourth.now + half;
    let (key, mut at_once) = (public_key(), tokio::task::JoinSet::new());
    for _ in 0..4 {
        at_once.spawn(renew(&fourth, now, &key));
    }
    let got = at_once.join_all().await.into_iter().map(|proxy| proxy.unwrap().certificate);
    assert_eq!(got.collect::<BTreeSet<_>>().len(), 1);
}

fn batch(organisation: &str, sequence: u64, rows: &Value) -> Value {
    let day = Day::of(at(0)).to_string();
    json!({ "organisation": organisation, "day": day, "writer": "w", "sequence": sequence, "rows": rows })
}

async fn requests(store: &Store, organisation: &str) -> u64 {
    let day = Day::of(at(0));
    let rows = usage::read(store, &self::organisation(organisation), day, day).await.unwrap();
    rows.iter().map(|(_, row)| row.counts.requests).sum()
}

async fn usage_is_kept_for_whom_a_proxy_was_let_in_for(world: World) {
    let room = Room::new(world).await;
    let (one, all) = (room.proxy(Some(&["acme"])).await, room.proxy(None).await);
    // A newer proxy counts more than is known here.
    let rows = json!([{ "k": "key", "v": { "n": 3, "seconds": 5 }, "place": "here" }]);
    let mut first = batch("acme", 1, &rows);
    first["zone"] = json!("UTC");
    let others = ["beta", "@platform", "nobody", "No Name"].map(|name| (name, rows.clone()));
    let mut batches: Vec<Value> =
        others.iter().zip(2..).map(|((name, rows), sequence)| batch(name, sequence, rows)).collect();
    batches.push(first);
    batches.push(batch("acme", 6, &json!([{ "k": "key", "v": { "n": 1 } }])));
    let told: wire::Settled = one.post("usage", &json!({ "batches": batches })).await.unwrap();
    assert_eq!((told.settled, told.refused), (vec![1, 6], vec![2, 3, 4, 5]));
    assert_eq!((requests(&room.store, "acme").await, requests(&room.store, "beta").await), (4, 0));
    // Under that name, there is another one now: it is not what this proxy counts for.
    room.store.delete_organisation(&organisation("acme")).await.unwrap();
    let late = json!({ "batches": [batch("acme", 7, &rows)] });
    let gone: wire::Settled = one.post("usage", &late).await.unwrap();
    assert_eq!((gone.settled, gone.refused), (vec![7], vec![]), "nobody asks for it");
    room.store.create_organisation(&organisation("acme")).await.unwrap();
    let gone: wire::Settled = one.post("usage", &late).await.unwrap();
    assert_eq!((gone.settled, requests(&room.store, "acme").await), (vec![7], 0));
    all.post::<wire::Settled>("usage", &late).await.unwrap();
    assert_eq!(requests(&room.store, "acme").await, 3);
}

async fn what_is_brought_at_once_is_bounded(world: World) {
    let room = Room::new(world).await;
    let all = room.proxy(None).await;
    let many = |batches: u64, rows: usize| {
        let rows = Value::Array(vec![json!({}); rows]);
        let batches: Vec<Value> = (1..=batches).map(|sequence| batch("acme", sequence, &rows)).collect();
        json!({ "batches": batches })
    };
    for (batches, rows) in [(129, 0), (1, 1_025), (2, 513), (9_730, 0)] {
        let told = all.post::<wire::Settled>("usage", &many(batches, rows)).await;
        assert_eq!(told.unwrap_err(), (422, "invalid".to_owned()), "{batches} of {rows}");
    }
    let told: wire::Settled = all.post("usage", &many(128, 8)).await.unwrap();
    assert_eq!(told.settled.len(), 128);
    // The most that a proxy brings of one day has room.
    let most = 999_999_999_999_999_999;
    let name = |number: usize| format!("{number:0>126}");
    let row = |number: usize| Row {
        key: name(number),
        user: Some(name(number)),
        groups: (0..4).map(name).collect(),
        model: Some(name(number)),
        counts: Counts {
            requests: most,
            blocked: most,
            redacted: most,
            tokens_in: most,
            tokens_out: most,
            nanodollars: most,
            findings: Category::ALL.iter().map(|category| (category.name().to_owned(), most)).collect(),
        },
    };
    let (day, writer) = (Day::of(at(0)), "0123456789abcdef".to_owned());
    let whole = Batch {
        organisation: "beta".to_owned(),
        day,
        writer,
        sequence: u64::MAX,
        rows: (0..513).map(row).collect(),
    };
    let whole = serde_json::to_value(wire::Usage { batches: vec![whole] }).unwrap();
    assert!(whole.to_string().len() <= body_bytes_max("/feed/v1/usage"), "{}", whole.to_string().len());
    let told: wire::Settled = all.post("usage", &whole).await.unwrap();
    assert_eq!(told.settled, [u64::MAX]);
    assert!(body_bytes_max("/feed/v1/enroll") <= 4 << 10, "strangers bring little");
}

async fn what_cannot_be_meant_is_said(world: World) {
    let room = Room::new(world).await;
    let proxy = room.proxy(None).await;
    for target in ["organisations?after=@@@", "news?after=x", "news?after=0&patience_ms=-1"] {
        let told = proxy.get::<Value>(target).await.unwrap_err();
        assert_eq!(told, (422, "invalid".to_owned()), "{target}");
    }
    let token = room.token(None).await;
    let asked = wire::Enroll { token: token.clone(), public_key: public_key() };
    assert!(!format!("{asked:?}").contains(&token));
    // Of whom a body is read.
    for (path, certificate, is_read) in [
        ("/feed/v1/enroll", None, true),
        ("/feed/v1/usage", None, false),
        ("/feed/v1/usage", Some([7; 32]), false),
        ("/feed/v1/usage", Some(proxy.certificate), true),
        ("/", None, false),
    ] {
        let admitted = room.feed.admit(path, certificate.as_ref(), at(1)).await;
        assert_eq!(admitted.map_err(|refused| refused.status), is_read.then_some(()).ok_or(401), "{path}");
    }
}
