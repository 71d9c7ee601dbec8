//! What words of texts are, and that cuts do not change them.

use super::entry as entry_into;
use super::*;
use proptest::prelude::*;

/// The words of a text that comes in these pieces, as they read, with their places.
fn words(pieces: &[&str]) -> Vec<(usize, usize, String)> {
    let (mut sweep, mut text, mut out) = (Sweep::default(), Vec::new(), Vec::new());
    for (number, piece) in pieces.iter().enumerate() {
        text.extend_from_slice(piece.as_bytes());
        let view = View { text: &text, complete: number + 1 == pieces.len() };
        sweep.run(view, |word| {
            let written = text[word.start..word.end].to_ascii_lowercase();
            let reads = word.reads.map_or(written, <[u8]>::to_vec);
            out.push((word.start, word.end, String::from_utf8(reads).unwrap()));
        });
    }
    out
}

fn reads(text: &str) -> Vec<String> {
    words(&[text]).into_iter().map(|(_, _, reads)| reads).collect()
}

#[test]
fn a_text_has_the_words_that_a_reader_sees() {
    assert_eq!(reads("Project-Aurora_v2.1, (AT&T)"), ["project", "aurora", "v2", "1", "at", "t"]);
    assert_eq!(reads("Müller’s “café”—naïve"), ["müller", "s", "café", "naïve"]);
    assert_eq!(reads("e\u{301}tude E\u{301}"), ["étude", "é"], "composed or not");
    assert_eq!(reads("sec\u{200b}ret ｓｅｃｒｅｔ"), ["secret", "secret"]);
    assert_eq!(reads("Вова ВОВА"), ["вoвa", "вoвa"]);
    assert_eq!(reads("機密project计划"), ["機", "密", "project", "计", "划"]);
    assert_eq!(reads("서울은 タワー กา"), ["서", "울", "은", "タ", "ワ", "ー", "ก", "า"]);
    assert_eq!(reads(""), [""; 0]);
    let long = format!("{} b", "a".repeat(WORD_BYTES_MAX + 1));
    assert_eq!(reads(&long), ["b"], "too long for any list");
    let long = format!("{}é b王", "a".repeat(WORD_BYTES_MAX));
    assert_eq!(reads(&long), ["b", "王"]);
}

#[test]
fn an_entry_is_its_words_and_what_stands_between() {
    let read = |text: &str| {
        let (mut reads, mut ends) = (b"before".to_vec(), vec![]);
        entry_into(text, &mut reads, &mut ends)
            .map(|()| (String::from_utf8(reads.split_off(6)).unwrap(), ends))
    };
    let entry = |text: &str| read(text).unwrap();
    assert_eq!(entry(" \"Acme  Inc.\" "), ("acme inc".to_owned(), vec![4, 8]));
    assert_eq!(entry("AT & T"), ("at&t".to_owned(), vec![2, 4]));
    assert_eq!(entry("O’Brien"), ("o'brien".to_owned(), vec![1, 7]));
    assert_eq!(entry("机密"), ("机 密".to_owned(), vec![3, 7]));
    assert_eq!(entry("..."), (String::new(), vec![]));
    assert_eq!(read(&"a".repeat(ENTRY_BYTES_MAX + 1)), None);
    assert_eq!(read(&format!("a{}b", " ".repeat(BETWEEN_BYTES_MAX + 1))), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_words_of_the_whole(
        parts in prop::collection::vec(
            "(?s)[a-zA-Z0-9 .,_]{0,9}|.{0,3}|[é王กか\u{301}\u{3099}\u{200b}한“]{1,4}|a{60}",
            0..24,
        ),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let text = parts.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.retain(|cut| text.is_char_boundary(*cut));
        cuts.sort_unstable();
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in cuts {
            pieces.push(text.get(from..cut).unwrap());
            from = cut;
        }
        pieces.push(text.get(from..).unwrap());
        prop_assert_eq!(words(&pieces), words(&[&text]));
    }
}
