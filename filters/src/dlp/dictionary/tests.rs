//! What is found and what is not; that cuts change nothing; that no list and no text makes it slow.

use super::*;
use crate::dlp::matcher::View;
use proptest::prelude::*;

const SEED: u64 = 0x5eed;

fn dictionary(terms: &[&str]) -> Dictionary {
    let terms: Vec<Term<'_>> = terms.iter().map(|text| Term { list: 0, text, is_cased: false }).collect();
    Dictionary::compile(&terms, SEED).unwrap()
}

fn found<'a>(dictionary: &Dictionary, text: &'a str) -> Vec<&'a str> {
    dictionary.scan(text.as_bytes()).into_iter().map(|one| text.get(one.span).unwrap()).collect()
}

#[test]
fn a_term_is_found_however_it_is_written() {
    let list = dictionary(&["Project Aurora", "Müller GmbH", "AT&T", "Вова Иванов", "x-77"]);
    for text in [
        "project aurora",
        "PROJECT_AURORA",
        "Project-Aurora",
        "project.aurora",
        "Project\n  Aurora",
        "Müller GmbH",
        "mu\u{308}ller gmbh",
        "MÜLLER-GMBH",
        "at & t",
        "AT&T",
        "ВОВА ИВАНОВ",
        "вова иванов",
        "ｐｒｏｊｅｃｔ Aurora",
        "pro\u{ad}ject aurora",
        "X 77",
        "x77".split_at(0).0,
    ] {
        if !text.is_empty() {
            assert_eq!(found(&list, &format!("so {text}, then")), [text]);
        }
    }
}

#[test]
fn what_is_no_term_is_not_found() {
    let list = dictionary(&["Project Aurora", "AT&T", "pot", "cat"]);
    for text in [
        "project, aurora",
        "projects aurora",
        "project auroras",
        "look at t-shirts",
        "AT+T",
        "рот",
        "concat cats",
        "project",
        "aurora",
        "project                      aurora",
        "x77",
    ] {
        assert_eq!(found(&list, text), [""; 0], "{text}");
    }
}

#[test]
fn the_longest_term_is_found_at_each_word() {
    let list = dictionary(&["new york", "york times", "new york times square", "york"]);
    assert_eq!(found(&list, "the New York Times Squad"), ["New York", "York Times"]);
    assert_eq!(found(&list, "new york times square"), ["new york times square", "york times"]);
}

#[test]
fn scripts_without_spaces_are_searched_at_each_character() {
    let list = dictionary(&["机密计划", "サクラ計画", "โครงการลับ", "오로라"]);
    for (text, term) in [
        ("这是机密计划的内容", "机密计划"),
        ("这是机密\n计划", "机密\n计划"),
        ("例のサクラ計画です", "サクラ計画"),
        ("ดูโครงการลับนี้", "โครงการลับ"),
        ("내일 오로라는", "오로라"),
    ] {
        assert_eq!(found(&list, text), [term]);
    }
    assert_eq!(found(&list, "机密的计划"), [""; 0]);
}

#[test]
fn lists_find_for_themselves_and_case_counts_where_it_should() {
    let term = |list, text, is_cased| Term { list, text, is_cased };
    let list = Dictionary::compile(
        &[
            term(0, "aurora", false),
            term(1, "Aurora", true),
            term(1, "AURORA", true),
            term(2, "aurora one", false),
        ],
        SEED,
    )
    .unwrap();
    let lists = |text: &str| -> Vec<(u16, Range<usize>)> {
        list.scan(text.as_bytes()).into_iter().map(|one| (one.list, one.span)).collect()
    };
    assert_eq!(lists("aurora"), [(0, 0..6)]);
    assert_eq!(lists("Aurora"), [(0, 0..6), (1, 0..6)]);
    assert_eq!(lists("AURORA one"), [(0, 0..6), (1, 0..6), (2, 0..10)]);
}

#[test]
fn a_wrong_term_is_named_with_what_to_do() {
    let problem = |terms: &[&str]| {
        let terms: Vec<Term<'_>> = terms.iter().map(|text| Term { list: 0, text, is_cased: false }).collect();
        Dictionary::compile(&terms, SEED).unwrap_err()
    };
    assert_eq!(problem(&["fine", ""]), (1, TermProblem::Empty));
    assert_eq!(problem(&["--- ***"]), (0, TermProblem::Empty));
    assert_eq!(problem(&["C++"]), (0, TermProblem::Single));
    assert_eq!(problem(&["王"]), (0, TermProblem::Single));
    assert_eq!(problem(&["a", "b"]), (0, TermProblem::Single));
    assert_eq!(problem(&[&"ab ".repeat(33)]), (0, TermProblem::Long));
    assert_eq!(problem(&["one two", "three", "One-Two!"]), (2, TermProblem::Twice(1)));
}

/// What comes of a text in pieces: what was found, and whether it was held until then.
fn in_pieces(list: &Dictionary, pieces: &[&str]) -> Vec<Range<usize>> {
    let (mut reading, mut text, mut all) = (Reading::default(), Vec::new(), Vec::new());
    let (mut decided, mut dropped) = (0, 0);
    for (number, piece) in pieces.iter().enumerate() {
        text.extend_from_slice(piece.as_bytes());
        let mut here = Vec::new();
        let view = View { text: &text, complete: number + 1 == pieces.len() };
        let until = reading.advance(list, view, &mut here) + dropped;
        for one in here {
            let span = one.span.start + dropped..one.span.end + dropped;
            assert!(span.start >= decided, "{span:?} was let go of at {decided}");
            all.push(span);
        }
        assert!(until >= decided);
        decided = until;
        let unneeded = reading.needed_from().min(text.len());
        reading.forget(unneeded);
        text.drain(..unneeded);
        dropped += unneeded;
    }
    all.sort_by_key(|span| (span.start, span.end));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_finds_what_the_whole_finds(
        picks in prop::collection::vec((0usize..14, 0usize..6), 0..24),
    ) {
        let terms = ["aa bb", "aa bb cc", "bb", "cc dd ee ff", "é王", "王 aa", "dd&ee", "ff ff ff ff ff"];
        let list = dictionary(&terms);
        let long = "x".repeat(300);
        let words =
            ["aa", "bb", "cc", "dd", "ee", "ff", "é", "王", "AA", "e\u{301}", "aa王", "ff ff ff", "a", &long];
        let between = [" ", "-", "&", ", ", "", "                         "];
        let text: String = picks.iter().flat_map(|(word, gap)| [words[*word], between[*gap]]).collect();
        let whole: Vec<_> = list.scan(text.as_bytes()).into_iter().map(|one| one.span).collect();
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            prop_assert_eq!(&in_pieces(&list, &<[&str; 2]>::from(text.split_at(cut))), &whole, "cut at {}", cut);
        }
        let each: Vec<String> = text.chars().map(String::from).chain([String::new()]).collect();
        let each: Vec<&str> = each.iter().map(String::as_str).collect();
        prop_assert_eq!(in_pieces(&list, &each), whole);
    }
}

#[test]
fn what_begins_in_a_place_is_found_there() {
    let list = dictionary(&["one two three", "two"]);
    let text = b"zero one two three four";
    let mut here = Vec::new();
    list.scan_place(text, 3..8, &mut here);
    assert!(here.len() == 1 && here[0].span == (5..18), "{here:?}");
    // A place that begins within a word does not see the rest of it as one.
    here.clear();
    list.scan_place(b"xtwo two", 1..8, &mut here);
    assert!(here.len() == 1 && here[0].span == (5..8), "{here:?}");
}

#[test]
fn a_stream_holds_a_term_and_its_word_and_no_more() {
    let list = dictionary(&["project aurora"]);
    let mut reading = Reading::default();
    let mut held = |text: &str| {
        let view = View { text: text.as_bytes(), complete: false };
        text.len() - reading.advance(&list, view, &mut Vec::new())
    };
    assert_eq!(held("the projec"), "projec".len());
    assert_eq!(held("the project "), "project ".len());
    assert_eq!(held("the project ar"), "project ar".len());
    assert_eq!(held("the project arena "), 0);
}

#[test]
fn terms_that_begin_alike_cost_one_question_a_word() {
    let terms: Vec<String> = (0..20_000).map(|number| format!("project aurora part{number} two")).collect();
    let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
    let list = dictionary(&terms);
    assert_eq!(found(&list, "project aurora part77 two"), ["project aurora part77 two"]);
    // A walk through all of them at each of these would be 20 000 million steps.
    let text = "project aurora ".repeat(100_000);
    assert_eq!(found(&list, &text), [""; 0]);
    let list = dictionary(&[&"so ".repeat(32)]);
    assert_eq!(list.scan("so ".repeat(100_000).as_bytes()).len(), 100_000 - 31);
}
