//! What is found of a table in a text: compared with a plain reading of the same rules, for every cut.

use super::*;
use crate::dlp::matcher::View;
use proptest::prelude::*;

const SALT: [u8; 16] = [7; 16];

fn secret() -> Secret {
    Secret::new("0123456789abcdef0123456789abcdef".to_owned())
}

fn file(records: &[&[&str]]) -> Vec<u8> {
    let mut builder = Builder::new(&secret(), SALT, records[0].len()).unwrap();
    for record in records {
        builder.push(record.iter().copied()).unwrap();
    }
    builder.finish().bytes
}

fn table(records: &[&[&str]], columns_min: usize, within: usize) -> Table {
    Table::open(Bytes::from(file(records)), &secret()).unwrap().asked(columns_min, within).unwrap()
}

fn found<'a>(table: &Table, text: &'a str) -> Vec<&'a str> {
    table.scan(text.as_bytes()).into_iter().map(|span| text.get(span).unwrap()).collect()
}

const PEOPLE: &[&[&str]] = &[
    &["Anna Kowalski", "492912345678", "anna.k@example.com", "Berlin"],
    &["Bo Li", "7700-1234-9", "boli@example.org", "Berlin"],
    &["Paris Hart", "88112233", "p@hart.example", "Paris"],
    &["王伟", "1980-05-17", "", "上海市"],
];

#[test]
fn two_cells_of_a_record_are_found_however_they_are_written() {
    let people = table(PEOPLE, 2, 100);
    for (text, cells) in [
        ("for anna  KOWALSKI, card 4929 1234 5678.", ["anna  KOWALSKI", "4929 1234 5678"]),
        ("mail Anna.K@Example.com about 4929-1234-5678", ["Anna.K@Example.com", "4929-1234-5678"]),
        ("acct 770012349 (Bo Li)", ["770012349", "Bo Li"]),
        ("王伟生于1980-05-17。", ["王伟", "1980-05-17"]),
        ("王伟 of 上海市", ["王伟", "上海市"]),
    ] {
        assert_eq!(found(&people, text), cells, "{text}");
    }
    let all = "Anna Kowalski, Berlin, 492912345678, anna.k@example.com";
    assert_eq!(found(&people, all), ["Anna Kowalski", "Berlin", "492912345678", "anna.k@example.com"]);
}

#[test]
fn what_is_no_record_is_not_found() {
    let people = table(PEOPLE, 2, 60);
    for text in [
        "Anna Kowalski",
        "Anna Kowalski and 88112233",
        "Berlin, Berlin, Berlin",
        "Paris Hart",
        "Kowalski 492912345678",
        "Anna Kowalskis 492912345678",
        "Anna Kowalski 4929123456780",
    ] {
        assert_eq!(found(&people, text), [""; 0], "{text}");
    }
    let far = format!("Anna Kowalski {} 492912345678", "so on ".repeat(9));
    assert_eq!(found(&people, &far), [""; 0]);
    let near = format!("Anna Kowalski {} 492912345678", "so ".repeat(9));
    assert_eq!(found(&people, &near).len(), 2);
    let three = table(PEOPLE, 3, 100);
    assert_eq!(found(&three, "Anna Kowalski 492912345678"), [""; 0]);
    assert_eq!(found(&three, "Anna Kowalski 492912345678 Berlin").len(), 3);
}

#[test]
fn common_cells_support_a_rarer_one_and_say_nothing_together() {
    let records: Vec<[String; 3]> = (0..500)
        .map(|number| [format!("1{number:07}"), "Germany".to_owned(), format!("town{}", number % 2)])
        .collect();
    let records: Vec<Vec<&str>> =
        records.iter().map(|record| record.iter().map(String::as_str).collect()).collect();
    let records: Vec<&[&str]> = records.iter().map(Vec::as_slice).collect();
    let towns = table(&records, 2, 100);
    assert_eq!(found(&towns, "Germany, town1, Germany"), [""; 0]);
    assert_eq!(found(&towns, "town1 10000001 Germany"), ["town1", "10000001", "Germany"]);
    assert_eq!(found(&towns, "town0 10000001"), [""; 0], "of another row");
    let built = {
        let mut builder = Builder::new(&secret(), SALT, 3).unwrap();
        for record in &records {
            builder.push(record.iter().copied()).unwrap();
            builder.push(record.iter().copied()).unwrap();
        }
        builder.finish()
    };
    assert_eq!((built.rows, built.rows_twice, built.cells), (500, 500, 503));
    let common: Vec<u64> = built.columns.iter().map(|column| column.common).collect();
    assert_eq!(common, [0, 500, 500]);
}

#[test]
fn a_file_is_nothing_without_its_key_and_nothing_of_it_may_change() {
    let file = file(PEOPLE);
    let open = |bytes: Vec<u8>, secret: &Secret| {
        Table::open(Bytes::from(bytes), secret).map(|table| table.records())
    };
    assert_eq!(open(file.clone(), &secret()), Ok(4));
    let other = Secret::new("f".repeat(32));
    assert_eq!(open(file.clone(), &other), Err(Unusable::Key));
    assert_eq!(open(file.clone(), &Secret::new("short".to_owned())), Err(Unusable::Weak));
    assert_eq!(open(b"name,card".to_vec(), &secret()), Err(Unusable::Foreign));
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(open(damaged, &secret()).is_err(), "byte {at}");
        assert!(open(file[..at].to_vec(), &secret()).is_err(), "{at} bytes");
    }
    let holds = |word: &[u8]| file.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    assert!(!holds(b"kowalski") && !holds(b"4929") && !holds(b"berlin"));
    let asked =
        |columns, within| Table::open(Bytes::from(file.clone()), &secret()).unwrap().asked(columns, within);
    assert_eq!(asked(1, 100).unwrap_err(), AskProblem::Columns(4));
    assert_eq!(asked(5, 100).unwrap_err(), AskProblem::Columns(4));
    assert_eq!(asked(2, 401).unwrap_err(), AskProblem::Within);
}

/// The same, read plainly: for each row, all windows of its cells.
fn plainly(records: &[&[&str]], text: &str, columns_min: usize, within: usize) -> Vec<Range<usize>> {
    let rows_of = |cell: &str| records.iter().filter(|record| record.contains(&cell)).count();
    let mut words = Vec::new();
    let mut at = 0;
    for word in text.split(' ') {
        words.push((at..at + word.len(), word));
        at += word.len() + 1;
    }
    let mut found = Vec::new();
    for record in records {
        let mine: Vec<_> = words.iter().filter(|(_, word)| record.contains(word)).collect();
        for (from, (first, _)) in mine.iter().enumerate() {
            let inside: Vec<_> =
                mine[from..].iter().filter(|(span, _)| span.end <= first.start + within).collect();
            let mut cells: Vec<&str> = inside.iter().map(|(_, word)| *word).collect();
            cells.sort_unstable();
            cells.dedup();
            if cells.len() >= columns_min && cells.iter().any(|cell| rows_of(cell) <= ROWS_OF_CELL_MAX) {
                found.extend(inside.iter().map(|(span, _)| span.clone()));
            }
        }
    }
    found.sort_by_key(|span| span.start);
    found.dedup();
    found
}

/// What comes of a text in pieces.
fn in_pieces(table: &Table, pieces: &[&str]) -> Vec<Range<usize>> {
    let (mut reading, mut text, mut all) = (Reading::default(), Vec::new(), Vec::new());
    let (mut decided, mut dropped) = (0, 0);
    for (number, piece) in pieces.iter().enumerate() {
        text.extend_from_slice(piece.as_bytes());
        let mut here = Vec::new();
        let view = View { text: &text, complete: number + 1 == pieces.len() };
        let until = reading.advance(table, view, &mut here) + dropped;
        for one in here {
            let span = one.start + dropped..one.end + dropped;
            assert!(span.start >= decided, "{span:?} was let go of at {decided}");
            all.push(span);
        }
        assert!(until >= decided, "{until} {decided}");
        decided = until;
        let held = text.len() + dropped - decided;
        assert!(held <= 576, "{held} bytes are held");
        let unneeded = reading.needed_from().min(text.len()).min(decided - dropped);
        reading.forget(unneeded);
        text.drain(..unneeded);
        dropped += unneeded;
    }
    all.sort_by_key(|span| (span.start, span.end));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn records_are_found_as_a_plain_reading_finds_them(
        picks in prop::collection::vec(0usize..16, 0..40),
        columns_min in 2usize..4,
        within in 16usize..60,
    ) {
        let common: Vec<[String; 3]> =
            (0..100).map(|number| [format!("x{number:03}"), "everywhere".to_owned(), "often".to_owned()]).collect();
        let mut records: Vec<Vec<&str>> =
            common.iter().map(|record| record.iter().map(String::as_str).collect()).collect();
        records.push(vec!["ann", "red", "7001"]);
        records.push(vec!["bob", "red", "7002"]);
        records.push(vec!["cyd", "everywhere", "7003"]);
        records.push(vec!["ann", "ann", "7004"]);
        let records: Vec<&[&str]> = records.iter().map(Vec::as_slice).collect();
        let words = ["ann", "bob", "cyd", "red", "7001", "7002", "7003", "7004", "everywhere", "often", "x001",
            "x002", "so", "and", "nothing", "words,"];
        let text: Vec<&str> = picks.iter().map(|pick| words[*pick]).collect();
        let text = text.join(" ");
        let table = table(&records, columns_min, within);
        // Numbers side by side are read as one, too, which is in no record here.
        prop_assert_eq!(table.scan(text.as_bytes()), plainly(&records, &text, columns_min, within));
    }

    #[test]
    fn any_cut_finds_what_the_whole_finds(
        picks in prop::collection::vec((0usize..14, 0usize..6), 0..30),
        within in 16usize..120,
    ) {
        let people = table(PEOPLE, 2, within);
        let words = ["Anna", "Kowalski", "4929 1234", "5678", "anna.k@example.com", "Berlin", "Bo", "Li", "7700",
            "1234-9", "王伟", "1980-05-17", "and so on", "上海市"];
        let between = [" ", "-", ". ", ", ", "", "          "];
        let text: String =
            picks.iter().flat_map(|(word, gap)| [words[*word], between[*gap]]).collect();
        let whole = people.scan(text.as_bytes());
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            prop_assert_eq!(&in_pieces(&people, &<[&str; 2]>::from(text.split_at(cut))), &whole, "cut at {}", cut);
        }
        let each: Vec<String> = text.chars().map(String::from).chain([String::new()]).collect();
        let each: Vec<&str> = each.iter().map(String::as_str).collect();
        prop_assert_eq!(in_pieces(&people, &each), whole);
    }
}

#[test]
fn a_stream_is_held_for_one_window_and_no_longer() {
    let people = table(PEOPLE, 2, WITHIN_BYTES_MAX);
    let text = format!("Anna Kowalski{}", " and so on".repeat(100));
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert!(in_pieces(&people, &pieces).is_empty(), "and never more than 576 bytes are held");
}
