//! Lists and tables beside the platform's rules: in disguise, in streams, over parts, and what is wrong with a document.

use super::super::detection::Detection;
use super::super::exact::Builder;
use super::super::lane::{Action, Syntax};
use super::super::replacement::Mode;
use super::super::tests::{PLATFORM, cut, redacted_with, scan_with, through_with};
use super::*;
use crate::documents::DlpDocument;
use crate::documents::detection::{ExactData, ListText};
use crate::secret::Secret;
use proptest::prelude::*;
use std::sync::LazyLock;

const DOCUMENT: &str = "
    [[keyword_lists]]
    id = 'own.projects'
    entity = 'PROJECT_NAME'
    category = 'business'
    terms = ['Blue Heron', 'Blue Heron North', 'Вова Иванов', '机密计划', 'AT&T']
    [[keyword_lists]]
    id = 'own.codes'
    entity = 'CODE'
    category = 'business'
    terms = ['IRIS', 'Heron']
    case_sensitive = true
    [[exact_match]]
    id = 'own.people'
    entity = 'PERSON_DATA'
    category = 'identity'
    file = 'lists/acme/people.exact'
    key = { env = 'PEOPLE_KEY' }
    within_bytes = 80
";

fn key() -> Secret {
    Secret::new("k".repeat(32))
}

fn document(text: &str) -> DlpDocument {
    let mut document: DlpDocument = toml::from_str(text).unwrap();
    for one in &mut document.exact_match {
        let mut builder = Builder::new(&key(), [1; 16], 3).unwrap();
        for record in [["Anna Kowalski", "492912345678", "Gdansk"], ["Bo Li", "88112233", "Berlin"]] {
            builder.push(record.into_iter()).unwrap();
        }
        one.read = Some(ExactData { table: builder.finish().bytes.into(), key: key() });
    }
    document
}

fn compile(document: &DlpDocument) -> Result<Option<Lists>, String> {
    Lists::compile(&document.keyword_lists, &document.exact_match, 7, "[CREDIT_CARD]\n[EMAIL_ADDRESS]")
}

static LISTS: LazyLock<Detection> = LazyLock::new(|| {
    let lists = compile(&document(DOCUMENT)).unwrap().map(Arc::new);
    Detection::new(PLATFORM.platform().clone(), None).with_lists(lists)
});

fn found(text: &str) -> Vec<(String, &str)> {
    let id = |found: &Found| LISTS.detector(found.rule).unwrap().id.to_string();
    let found = scan_with(&LISTS, text);
    found.iter().map(|one| (id(one), text.get(one.span.clone()).unwrap())).collect()
}

#[test]
fn lists_and_tables_find_under_their_own_names() {
    let of = |id: &str, text| (id.to_owned(), text);
    assert_eq!(
        found("BLUE_HERON of Anna Kowalski, 4929 1234 5678; IRIS, iris"),
        [
            of("own.projects", "BLUE_HERON"),
            of("own.people", "Anna Kowalski"),
            of("own.people", "4929 1234 5678"),
            of("own.codes", "IRIS"),
        ]
    );
    let both = found("the Blue Heron");
    assert_eq!(both, [of("own.projects", "Blue Heron"), of("own.codes", "Heron")], "each finds for itself");
}

#[test]
fn what_is_disguised_is_found_and_so_is_what_stands_beside_it() {
    for text in [
        "Вlue Неron",
        "Blue&#32;Heron",
        "Ｂｌｕｅ Ｈｅｒｏｎ",
        "Bl\u{200b}ue He\u{ad}ron",
        "&#1042;&#1054;&#1042;&#1040; &#1048;&#1042;&#1040;&#1053;&#1054;&#1042;",
        "Qmx1ZSBIZXJvbiBmbGllcw==",
    ] {
        let found = found(text);
        assert!(found.iter().any(|(id, _)| id == "own.projects"), "{text}: {found:?}");
    }
    let far = "so on ".repeat(8);
    let record = format!("Аnna Kowalski {far} 492912345678");
    assert_eq!(found(&record).len(), 2, "the first letter is not of this alphabet, the number is far behind");
    let record = format!("492912345678 {far} Аnna Kowalski");
    assert_eq!(found(&record).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_what_the_whole_gives(
        picks in prop::collection::vec((0usize..20, "[ ,;a-z0-9@é.\\\\%&-]{0,9}"), 1..14),
        places in prop::collection::vec(any::<usize>(), 0..60),
        block in any::<bool>(),
        json in any::<bool>(),
    ) {
        let words = ["Blue", "Heron", "Blue Heron North", "ВОВА", "Иванов", "机密", "计划", "AT & T", "IRIS", "Anna",
            "Kowalski", "4929 1234", "5678", "Gdansk", "Bo Li 88112233", "Аnna Kowalski", "Qmx1ZSBIZXJvbiBmbGllcw==",
            "&#66;lue", "4111 1111 1111 1111", " and then for a long while there was nothing to be said of it at all "];
        let text: String = picks.iter().flat_map(|(pick, glue)| [words[*pick], " ", glue]).collect();
        let syntax = if json { Syntax::Json } else { Syntax::Plain };
        let action = if block { Action::Block } else { Action::Redact(Mode::Label) };
        let whole = through_with(&LISTS, &[&text], syntax, action);
        let streamed = through_with(&LISTS, &cut(&text, &places), syntax, action);
        prop_assert_eq!(&streamed, &whole);
        if !block && !json {
            prop_assert_eq!(streamed.0, redacted_with(&LISTS, Mode::Label, &text));
        }
    }
}

#[test]
fn what_is_wrong_with_a_document_is_said_and_no_term_is_told() {
    let list = "[[keyword_lists]]\nid = 'own.l'\nentity = 'L'\ncategory = 'business'\n";
    let of = |more: &str| compile(&document(&format!("{list}{more}"))).map(|_| ()).unwrap_err();
    assert!(of("").contains("`own.l`: it has no terms; write `terms`, or a `file`"));
    assert!(of("terms = ['one', 'x']").contains("keyword list `own.l`: term 2 is a single letter"));
    assert!(
        of("terms = ['secret one', 'secret-one']").contains("term 2 says the same as term 1; leave one out")
    );
    assert!(of("terms = ['credit card']").contains("stands in `[CREDIT_CARD]`"));
    assert!(of("terms = ['l1', 'l2']\nconfidence = 2").contains("`confidence` lies between 0 and 1"));
    assert!(of("terms = ['l1']\nfile = 'f'").contains("`terms` and a `file`; keep one"));
    assert!(of("file = 'f'").contains("its `file` was not read"));
    assert!(of(&format!("terms = ['l1']\n{list}terms = ['l2']")).contains("two lists have the id `own.l`"));
    let mut lines = document(&format!("{list}file = 'names.txt'"));
    lines.keyword_lists[0].text = Some(ListText("\u{feff}good one\n\ngood-one\r\n".into()));
    let problem = compile(&lines).unwrap_err();
    assert_eq!(
        problem,
        "keyword list `own.l`: line 3 of `names.txt` says the same as line 1 of `names.txt`; leave one out"
    );
    for (id, entity, expected) in
        [("l", "L", "`id` begins with `own.`"), ("own.l", "l", "of the form `PROJECT_NAME`")]
    {
        let text = format!(
            "[[keyword_lists]]\nid = '{id}'\nentity = '{entity}'\ncategory = 'business'\nterms = ['l1']"
        );
        assert!(compile(&document(&text)).unwrap_err().contains(expected), "{id}");
    }
    let mut other = document(DOCUMENT);
    other.exact_match[0].read.as_mut().unwrap().key = Secret::new("x".repeat(40));
    assert!(
        compile(&other)
            .unwrap_err()
            .contains("exact match `own.people`: `lists/acme/people.exact`: the key is not")
    );
    let mut narrow = document(DOCUMENT);
    narrow.exact_match[0].columns_min = 4;
    assert!(compile(&narrow).unwrap_err().contains("at most the 3 columns"));
    let shown = format!("{other:?}");
    assert!(!shown.contains("xxxx") && !shown.contains("PALEXCT"), "neither key nor table is shown");
}
