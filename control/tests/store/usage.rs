//! Is everything that was counted there once, whoever wrote it and however often, on both engines?

use crate::api::{Badge, Desk};
use crate::world::{World, id, organisation, owned};
use palisade_control::store::{Kind, NEVER, NewMemo, Owner, Store, Sweep};
use palisade_control::usage::{self, Batch, Counts, Day, KEPT_DAYS, OTHER, Row, UsageError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

on_both! {
    what_writers_bring_at_once_is_there_once
    days_are_kept_for_a_time_and_go
    what_is_over_goes_where_nobody_does_anything
    a_day_is_bounded_and_loses_no_count
    what_is_no_batch_of_ours_is_refused
    everybody_sees_what_is_theirs
    what_cannot_be_meant_is_refused
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn row(key: &str, user: Option<&str>, groups: &[&str], model: &str, requests: u64) -> Row {
    let counts = Counts {
        requests,
        blocked: 1,
        tokens_in: 100 * requests,
        tokens_out: 10,
        nanodollars: 1_500,
        findings: [("secret".to_owned(), 2)].into(),
        ..Counts::default()
    };
    Row {
        key: key.to_owned(),
        user: user.map(str::to_owned),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        model: Some(model.to_owned()),
        counts,
    }
}

fn batch(writer: &str, sequence: u64, day: Day, rows: Vec<Row>) -> Batch {
    Batch { organisation: "acme".to_owned(), day, writer: writer.to_owned(), sequence, rows }
}

/// Brings a batch on its day.
async fn add(store: &Store, batch: &Batch) -> Result<(), UsageError> {
    usage::add(store, batch, UNIX_EPOCH + Duration::from_secs(batch.day.seconds())).await
}

async fn requests(store: &Store, from: &str, to: &str) -> u64 {
    let rows = usage::read(store, &organisation("acme"), day(from), day(to)).await.unwrap();
    rows.iter().map(|(_, row)| row.counts.requests).sum()
}

async fn what_writers_bring_at_once_is_there_once(world: World) {
    let store = Arc::new(world.open().await);
    store.create_organisation(&organisation("acme")).await.unwrap();
    let tasks: Vec<_> = (0..6)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for sequence in 1..=5 {
                    let rows = (0..4).map(|key| row(&format!("k{key}"), None, &[], "m", 1)).collect();
                    let batch = batch(&format!("w{writer}"), sequence, day("2026-11-26"), rows);
                    // Who does not know whether it was kept brings it again.
                    for _ in 0..2 {
                        loop {
                            match add(&store, &batch).await {
                                Ok(()) => break,
                                Err(UsageError::Busy) => {}
                                Err(failed) => panic!("{failed}"),
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(requests(&store, "2026-11-26", "2026-11-26").await, 6 * 5 * 4);
    assert_eq!(requests(&store, "2026-11-25", "2026-11-25").await, 0);
    // One that comes late, behind others of its writer, was there.
    let late = batch("w0", 3, day("2026-11-26"), vec![row("k0", None, &[], "m", 7)]);
    add(&store, &late).await.unwrap();
    assert_eq!(requests(&store, "2026-11-01", "2026-12-31").await, 6 * 5 * 4);
}

async fn days_are_kept_for_a_time_and_go(world: World) {
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    let first = day("2026-10-31");
    for (sequence, later) in [(1, 0), (2, 1), (3, KEPT_DAYS), (4, KEPT_DAYS + 2)] {
        let rows = vec![row("k", None, &[], "m", 1)];
        add(&store, &batch("w", sequence, first.after(later), rows)).await.unwrap();
    }
    let memos = store.memos(&owned("acme"));
    let kind = Kind::new("usage").unwrap();
    assert!(memos.about(&kind, &id("2026-10"), None, 9).await.unwrap().is_empty(), "its time is over");
    assert_eq!(memos.about(&kind, &id("2026-11"), None, 9).await.unwrap().len(), 1);
    assert_eq!(requests(&store, "2026-10-31", "2027-02-28").await, 3);
}

async fn what_is_over_goes_where_nobody_does_anything(world: World) {
    let store = world.open().await;
    let first = day("2026-01-10");
    let kind = Kind::new("usage").unwrap();
    // More than one step has, so that a round is several.
    let names: Vec<String> = (0..70).map(|at| format!("idle-{at:02}")).collect();
    for name in &names {
        store.create_organisation(&organisation(name)).await.unwrap();
        let batch = batch("w", 1, first, vec![row("key", None, &[], "model", 1)]);
        add(&store, &Batch { organisation: name.clone(), ..batch }).await.unwrap();
    }
    let count = async |name: &String| {
        let (memos, about) = (store.memos(&owned(name)), id("2026-01"));
        memos.about(&kind, &about, None, 100).await.unwrap().len()
    };
    // Something of the platform's that is over, and something that never is.
    let platform = store.memos(&Owner::Platform);
    for (name, expires) in [("over", first.seconds()), ("never", NEVER)] {
        let memo = NewMemo { kind: &kind, id: &id(name), about: &id("x"), expires, text: b"" };
        platform.put(&memo, None).await.unwrap();
    }
    let round = async |day: Day| {
        let (mut way, mut gone, mut steps) = (Sweep::default(), 0, 0);
        loop {
            let now = UNIX_EPOCH + Duration::from_secs(day.seconds());
            let swept = way.step(&store, now).await.unwrap();
            assert!(swept.problems.is_empty(), "{swept:?}");
            (gone, steps) = (gone + swept.memos, steps + 1);
            if swept.is_round {
                return (gone, steps);
            }
        }
    };
    assert_eq!(round(first.after(KEPT_DAYS)).await, (1, 2), "what is still kept stays");
    assert_eq!(count(&names[0]).await + count(&names[69]).await, 2);
    assert_eq!(round(first.after(KEPT_DAYS + 2)).await, (70, 2));
    assert_eq!(count(&names[0]).await + count(&names[69]).await, 0);
    assert_eq!(round(first.after(100_000)).await, (0, 2));
    assert!(platform.get(&kind, &id("never")).await.unwrap().is_some());
    // One that cannot be read holds up nobody else.
    let again = batch("w", 2, first, vec![row("key", None, &[], "model", 1)]);
    add(&store, &Batch { organisation: names[1].clone(), ..again }).await.unwrap();
    store.delete_organisation(&organisation(&names[0])).await.unwrap();
    assert_eq!(round(first.after(KEPT_DAYS + 2)).await, (1, 2));
}

async fn a_day_is_bounded_and_loses_no_count(world: World) {
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    for sequence in 1..=3 {
        let rows = (0..900).map(|key| row(&format!("k{sequence}x{key}"), Some("ann"), &[], "m", 1)).collect();
        add(&store, &batch("w", sequence, day("2026-11-26"), rows)).await.unwrap();
    }
    let (acme, today) = (organisation("acme"), day("2026-11-26"));
    let rows = usage::read(&store, &acme, today, today).await.unwrap();
    assert!((300..900).contains(&rows.len()), "{}", rows.len());
    assert!(rows.iter().any(|(_, row)| row.key == OTHER && row.user.is_none()));
    assert_eq!(requests(&store, "2026-11-26", "2026-11-26").await, 2_700);
}

async fn what_is_no_batch_of_ours_is_refused(world: World) {
    let store = world.open().await;
    store.create_organisation(&organisation("acme")).await.unwrap();
    let today = day("2026-11-26");
    for wrong in [
        Batch { organisation: "@platform".to_owned(), ..batch("w", 1, today, Vec::new()) },
        batch("", 1, today, Vec::new()),
        batch("w\"w", 1, today, Vec::new()),
        batch(&"w".repeat(17), 1, today, Vec::new()),
        batch("w", 1, today, vec![Row::default(); 2_000]),
    ] {
        assert!(matches!(add(&store, &wrong).await, Err(UsageError::Unfit(_))), "{wrong:?}");
    }
    // A clock that is wrong takes nothing away, and fills nothing.
    let now = UNIX_EPOCH + Duration::from_secs(today.seconds());
    for day in [today.after(2), today.before(KEPT_DAYS + 1), day("9999-12-31")] {
        let told = usage::add(&store, &batch("w", 1, day, vec![Row::default()]), now).await;
        assert!(matches!(told, Err(UsageError::Unfit(_))), "{day}");
    }
    let gone = Batch { organisation: "gone".to_owned(), ..batch("w", 1, today, vec![Row::default()]) };
    assert!(matches!(add(&store, &gone).await, Err(UsageError::Store(_))));
}

async fn everybody_sees_what_is_theirs(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    desk.provisioned(&operator, "other").await;
    let mia = desk.joined(&ann, "acme", "mia", "member", &[]).await;
    let max = desk.joined(&ann, "acme", "max", "group_manager", &["dev"]).await;
    // The moment that requests of these tests come at.
    let today = day("2027-01-15");
    let rows = vec![
        row("k1", Some("mia"), &["dev", "ops"], "large", 1),
        row("k2", Some("bob"), &["ops"], "small", 20),
        row("k3", None, &["dev"], "small", 300),
    ];
    let store = desk.store();
    add(store, &batch("w", 1, today, rows)).await.unwrap();
    let yesterday = vec![row("k1", Some("mia"), &["dev"], "large", 4_000)];
    add(store, &batch("w", 2, today.before(1), yesterday)).await.unwrap();
    let usage = "/api/v1/orgs/acme/usage";
    let of = async |badge: &Badge, query: &str| -> (Value, Vec<(String, u64)>) {
        let told = desk.get(badge, &format!("{usage}{query}")).await.is(200).json();
        let items = told["items"].as_array().unwrap().iter();
        let items =
            items.map(|item| (item["name"].as_str().unwrap().to_owned(), item["requests"].as_u64().unwrap()));
        (told["total"].clone(), items.collect())
    };
    let named = |items: &[(&str, u64)]| -> Vec<(String, u64)> {
        items.iter().map(|(name, requests)| ((*name).to_owned(), *requests)).collect()
    };
    let (total, items) = of(&ann, "").await;
    assert_eq!(items, []);
    let expected = json!({
        "name": null, "requests": 4_321, "blocked": 4, "redacted": 0, "tokens_in": 432_100, "tokens_out": 40,
        "cost_microdollars": 6, "findings": { "secret": 8 },
    });
    assert_eq!(total, expected);
    assert_eq!(of(&ann, "?by=day").await.1, named(&[("2027-01-14", 4_000), ("2027-01-15", 321)]));
    assert_eq!(of(&ann, "?by=day&from=2027-01-15").await.1, named(&[("2027-01-15", 321)]));
    assert_eq!(of(&ann, "?by=key").await.1, named(&[("k1", 4_001), ("k2", 20), ("k3", 300)]));
    assert_eq!(of(&ann, "?by=model").await.1, named(&[("large", 4_001), ("small", 320)]));
    assert_eq!(of(&ann, "?by=user").await.1, named(&[("bob", 20), ("mia", 4_001), ("none", 300)]));
    assert_eq!(of(&ann, "?by=group").await.1, named(&[("dev", 4_301), ("ops", 21)]));
    // A member's own, and a manager's groups'.
    assert_eq!(of(&mia, "?by=key").await.1, named(&[("k1", 4_001)]));
    let (total, items) = of(&max, "?by=group").await;
    assert_eq!((&total["requests"], items), (&json!(4_301), named(&[("dev", 4_301)])));
    // The operator gets sums, and no names.
    assert_eq!(of(&operator, "?by=day").await.0["requests"], 4_321);
    for by in ["key", "model", "user", "group"] {
        let told = desk.get(&operator, &format!("{usage}?by={by}")).await.is(403).json();
        assert_eq!(told["permission"], "api-keys.read");
    }
    let told = desk.get(&operator, "/api/v1/platform/usage?limit=1").await.is(200).json();
    assert_eq!((&told["items"][0]["name"], &told["items"][0]["requests"]), (&json!("acme"), &json!(4_321)));
    let told = desk.get(&operator, "/api/v1/platform/usage?after=acme").await.is(200).json();
    assert_eq!((&told["items"][0]["requests"], &told["next"]), (&json!(0), &Value::Null));
    desk.get(&ann, "/api/v1/platform/usage").await.is(403);
    desk.get(&ann, "/api/v1/orgs/other/usage").await.is(404);
    desk.get(&operator, "/api/v1/orgs/nobody/usage").await.is(404);
}

async fn what_cannot_be_meant_is_refused(world: World) {
    let desk = Desk::new(&world).await;
    let operator = desk.operator().await;
    let ann = desk.provisioned(&operator, "acme").await;
    let usage = "/api/v1/orgs/acme/usage";
    for query in [
        "?by=x",
        "?from=2027-01-16",
        "?from=2026-01-01&to=2026-12-31",
        "?from=yesterday",
        "?to=2027-13-01",
        "?limit=1",
        "?by=day&by=key",
    ] {
        desk.get(&ann, &format!("{usage}{query}")).await.is(400);
    }
    for query in ["?limit=0", "?limit=101", "?after=ACME", "?by=day"] {
        desk.get(&operator, &format!("/api/v1/platform/usage{query}")).await.is(400);
    }
}
