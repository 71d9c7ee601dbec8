//! Does a page keep what is added to it, once, and never more than fits?

use super::*;
use crate::store::MEMO_BYTES_MAX;
use proptest::prelude::*;

fn row(key: &str, model: &str, requests: u64) -> Row {
    let counts = Counts { requests, tokens_in: 10 * requests, ..Counts::default() };
    Row { key: key.to_owned(), model: Some(model.to_owned()), counts, ..Row::default() }
}

fn total(page: &Page) -> u64 {
    page.rows.iter().map(|row| row.counts.requests).sum()
}

#[test]
fn a_page_never_outgrows_a_memo_and_loses_no_count() {
    let mut page = Page::default();
    let largest = |at: usize| {
        let name = |what: &str| format!("{what}{at:03}{}", "\\".repeat(50));
        let findings = Category::ALL.iter().map(|known| (known.name().to_owned(), NUMBER_MAX)).collect();
        let counts = Counts {
            requests: 1,
            blocked: NUMBER_MAX,
            redacted: NUMBER_MAX,
            tokens_in: NUMBER_MAX,
            tokens_out: NUMBER_MAX,
            nanodollars: NUMBER_MAX,
            findings,
        };
        let groups = (0..9).map(|group| name(&format!("g{group}"))).collect();
        Row { key: name("k"), user: Some(name("u")), model: Some(name("m")), groups, counts }.fitting()
    };
    for at in 0..500 {
        let writer = format!("writer{:010}", at % 200);
        page.add(&writer, NUMBER_MAX - 500 + at as u64, &[largest(at)]);
        assert!(page.text().unwrap().len() <= MEMO_BYTES_MAX, "{at}");
    }
    assert_eq!(total(&page), 500);
    assert!(page.rows.iter().any(|row| row.name() == Row::rest().name()));
    assert!(page.rows.len() > 8, "{}", page.rows.len());
    assert_eq!(page.writers.len(), WRITERS_MAX);
    let read: Page = serde_json::from_slice(&page.text().unwrap()).unwrap();
    assert_eq!(read, page);
}

#[test]
fn names_that_do_not_fit_are_others() {
    let long = "x".repeat(200);
    let fitted =
        Row { user: Some(long.clone()), groups: vec![long.clone(), "dev".into()], ..row("k", &long, 1) };
    let fitted = fitted.fitting();
    assert_eq!(fitted.name(), ("k", Some(OTHER), Some(OTHER)));
    assert_eq!(fitted.groups, ["dev"]);
    assert_eq!(row(&long, "m", 1).fitting().name(), Row::rest().name());
    let mut counts = Counts::default();
    counts.add(&Counts { findings: BTreeMap::from([("nonsense".to_owned(), 7)]), ..Counts::default() });
    assert_eq!(counts, Counts::default());
}

/// What happens to one attempt to write a page.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Written,
    /// The writer is told so, or the store was away.
    Lost,
    /// It was written, and the writer does not hear of it.
    Unheard,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Written), 1 => Just(Fate::Lost), 2 => Just(Fate::Unheard)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    /// Whatever the order of writers, whatever breaks between two pages and however often a batch is brought again:
    /// in the end each is there once.
    #[test]
    fn every_batch_counts_once(
        batches in prop::collection::vec((0..4_usize, prop::collection::vec((0..40_u32, 0..3_u32, 1..9_u64), 1..12)), 1..24),
        fates in prop::collection::vec(fate(), 1..64),
    ) {
        let mut pages: BTreeMap<usize, Page> = BTreeMap::new();
        let mut fates = fates.into_iter().cycle();
        let mut sequences = [0_u64; 4];
        let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut tries = 0;
        for (writer, rows) in batches {
            sequences[writer] += 1;
            let (name, sequence) = (format!("w{writer}"), sequences[writer]);
            let rows: Vec<Row> =
                rows.into_iter().map(|(key, model, count)| row(&format!("k{key}"), &format!("m{model}"), count)).collect();
            for row in &rows {
                let model = row.model.clone().unwrap_or_default();
                *expected.entry((row.key.clone(), model)).or_default() += row.counts.requests;
            }
            let mut parts: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
            for row in rows {
                parts.entry(row.page()).or_default().push(row);
            }
            // It is brought until all of it is known to be there, each time from its beginning.
            'brought: loop {
                for (number, rows) in &parts {
                    tries += 1;
                    let there = pages.entry(*number).or_default();
                    if there.has(&name, sequence) {
                        continue;
                    }
                    let fate = if tries > 5_000 { Fate::Written } else { fates.next().unwrap() };
                    if !matches!(fate, Fate::Lost) {
                        there.add(&name, sequence, rows);
                    }
                    if !matches!(fate, Fate::Written) {
                        continue 'brought;
                    }
                }
                break;
            }
        }
        let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
        for row in pages.into_values().flat_map(Page::rows) {
            *found.entry((row.key, row.model.unwrap_or_default())).or_default() += row.counts.requests;
        }
        prop_assert_eq!(found, expected);
    }
}
