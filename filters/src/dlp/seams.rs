//! What do texts say that a reader takes together? The parts of one message: `content: [{text}, {text}]`.
//!
//! A value that is cut in two stands in neither part, and the word that says what a number is may stand in the part
//! before it. So the ends of neighbouring parts are put together, as they are and with a space between, and scanned
//! once more. What is found over a seam is returned as its pieces, one a part. It judges nothing.

use super::exact::WITHIN_BYTES_MAX;
use super::projection::{Meaning, Projection};
use super::rules::{CONTEXT_AFTER_BYTES_MAX, CONTEXT_BEFORE_BYTES_MAX, WIDTH_BYTES_MAX};
use super::scanner::{Found, ScanParts};
use super::shadow;
use std::collections::BTreeMap;
use std::ops::Range;

/// How far from a seam a part is looked at, as it reads: a match, and its context on both sides.
const REACH_BYTES: usize = WIDTH_BYTES_MAX + CONTEXT_BEFORE_BYTES_MAX + CONTEXT_AFTER_BYTES_MAX;
/// What stands behind a seam may be the context of a match so far from it, or the cell of the same record.
const NEAR_BYTES: usize = WITHIN_BYTES_MAX;
const _: () = assert!(NEAR_BYTES >= CONTEXT_BEFORE_BYTES_MAX && NEAR_BYTES >= CONTEXT_AFTER_BYTES_MAX);
/// What a reader may take a seam for.
const GLUES: [&[u8]; 2] = [b"", b" "];
/// What may be left between the end of a text and a finding that goes on in the next.
const LINE_BREAK_BYTES_MAX: usize = 2;
/// Stands between windows; it occurs in no UTF-8 text.
const GAP: u8 = 0xff;

/// How texts are scanned.
pub(super) struct Look<'a> {
    pub(super) scan: &'a ScanParts<'a>,
    /// Whether findings of a rule go on until something ends them.
    pub(super) is_endless: &'a dyn Fn(u16) -> bool,
    /// Findings that one text may have.
    pub(super) most: usize,
}

/// What stands over the seams of a body, besides what was `found` in its parts. `None`: too much.
pub(super) fn across<R: Meaning>(
    look: &Look<'_>,
    body: &[u8],
    projection: &Projection<R>,
    found: &[Found],
) -> Option<Vec<Found>> {
    let mut lists: BTreeMap<u32, Vec<Range<usize>>> = BTreeMap::new();
    for part in &projection.parts {
        if let Some(list) = projection.list_of_texts(body, part) {
            lists.entry(list).or_default().push(part.value..part.text.end);
        }
    }
    lists.retain(|_, texts| texts.len() > 1);
    let lists: Vec<Vec<Part>> = lists.into_values().map(|texts| Part::all(&projection.text, texts)).collect();
    // Of what has no end, nobody knows how far it reaches.
    let mut in_full = lists.iter().flatten().any(|part| goes_on(look, found, &part.text));
    let mut pieces = Vec::new();
    for glue in GLUES.into_iter().filter(|_| !lists.is_empty()) {
        loop {
            let mut joined = Joined::default();
            for parts in &lists {
                joined.join(&projection.text, parts, glue, in_full);
            }
            let over = joined.look(look, found.len())?;
            if !in_full && joined.windows.iter().any(|window| goes_on(look, &over, window)) {
                in_full = true;
                continue;
            }
            for one in &over {
                joined.cut(one, &mut pieces);
            }
            if found.len() + pieces.len() > look.most {
                return None;
            }
            break;
        }
    }
    pieces.sort_by(|one, other| one.order().cmp(&other.order()).then(other.known.cmp(&one.known)));
    pieces.dedup_by_key(|piece| piece.order());
    pieces.retain(|piece| !is_known(found, piece));
    Some(pieces)
}

/// Whether a finding that has no end reaches the end of a text, or all but a line break of it.
fn goes_on(look: &Look<'_>, found: &[Found], text: &Range<usize>) -> bool {
    let from = found.partition_point(|found| found.span.start < text.start);
    let to = found.partition_point(|found| found.span.start < text.end);
    let mut inside = found.get(from..to).unwrap_or_default().iter();
    inside.any(|found| (look.is_endless)(found.rule) && found.span.end + LINE_BREAK_BYTES_MAX >= text.end)
}

/// Whether the same was found where the piece stands, by the same rule.
fn is_known(found: &[Found], piece: &Found) -> bool {
    let from = found.partition_point(|found| found.order() < piece.order());
    found.get(from).is_some_and(|known| {
        known.order() == piece.order() && known.confidence >= piece.confidence && known.known >= piece.known
    })
}

/// One of the texts of a list.
struct Part {
    text: Range<usize>,
    /// How much of its beginning reaches a seam before it, and of its end one behind it.
    head: usize,
    tail: usize,
}

impl Part {
    /// The texts of a list: there is no seam before the first, and none behind the last.
    fn all(text: &[u8], texts: Vec<Range<usize>>) -> Vec<Self> {
        let last = texts.len().saturating_sub(1);
        let numbered = texts.into_iter().enumerate();
        let reaching = numbered.map(|(number, part)| {
            let [head, tail] = shadow::ends(text.get(part.clone()).unwrap_or_default(), REACH_BYTES);
            let (head, tail) = (if number == 0 { 0 } else { head }, if number == last { 0 } else { tail });
            Self { text: part, head, tail }
        });
        reaching.collect()
    }
}

/// The neighbourhoods of seams.
#[derive(Default)]
struct Joined {
    /// Windows one after the other.
    reads: Vec<u8>,
    windows: Vec<Range<usize>>,
    /// Where in it each piece of a text begins, and which bytes it is.
    pieces: Vec<(usize, Range<usize>)>,
    /// Where its seams are.
    seams: Vec<Range<usize>>,
}

impl Joined {
    /// Adds the seams of one list, with the text on either side of each: all of it, or as much as reaches a seam.
    fn join(&mut self, text: &[u8], parts: &[Part], glue: &[u8], in_full: bool) {
        let mut window = self.reads.len();
        for (number, Part { text: whole, head, tail }) in parts.iter().enumerate() {
            if number > 0 {
                self.seams.push(self.reads.len()..self.reads.len() + glue.len());
                self.reads.extend_from_slice(glue);
            }
            if in_full || head + tail >= whole.len() {
                self.piece(text, whole.clone());
                continue;
            }
            self.piece(text, whole.start..whole.start + head);
            self.close(&mut window);
            self.piece(text, whole.end - tail..whole.end);
        }
        self.close(&mut window);
    }

    /// What is found near its seams, and what that goes on to.
    fn look(&self, look: &Look<'_>, so_far: usize) -> Option<Vec<Found>> {
        let mut found = (look.scan)(&self.reads, &self.windows)?;
        // Where what has no end goes on, by its rule.
        let mut ends: BTreeMap<u16, usize> = BTreeMap::new();
        found.retain(|one| {
            let counts = self.is_near_a_seam(&one.span) || ends.get(&one.rule) == Some(&one.span.start);
            if counts && (look.is_endless)(one.rule) {
                ends.insert(one.rule, one.span.end);
            }
            counts
        });
        (so_far + found.len() <= look.most).then_some(found)
    }

    fn piece(&mut self, text: &[u8], piece: Range<usize>) {
        let bytes = text.get(piece.clone()).unwrap_or_default();
        if !bytes.is_empty() {
            self.pieces.push((self.reads.len(), piece.clone()));
            self.reads.extend_from_slice(bytes);
        }
    }

    fn close(&mut self, window: &mut usize) {
        if self.reads.len() > *window {
            self.windows.push(*window..self.reads.len());
            self.reads.push(GAP);
        }
        *window = self.reads.len();
    }

    /// Whether a finding could be another one without what stands behind the seam.
    fn is_near_a_seam(&self, span: &Range<usize>) -> bool {
        let next = self.seams.partition_point(|seam| seam.end + NEAR_BYTES < span.start);
        self.seams.get(next).is_some_and(|seam| seam.start <= span.end + NEAR_BYTES)
    }

    /// Adds the pieces of a finding, each where it stands in its text; the value of all is the whole.
    fn cut(&self, found: &Found, out: &mut Vec<Found>) {
        let first = self.pieces.partition_point(|(at, piece)| at + piece.len() <= found.span.start);
        let pieces = self.pieces.get(first..).unwrap_or_default().iter();
        let pieces = pieces.take_while(|(at, _)| *at < found.span.end).map(|(at, piece)| {
            let from = found.span.start.max(*at) - at;
            let to = found.span.end.min(at + piece.len()) - at;
            piece.start + from..piece.start + to
        });
        let spans: Vec<Range<usize>> = pieces.collect();
        let is_cut = spans.len() > 1;
        let revealed = if is_cut { Some(found.value(&self.reads).into()) } else { found.revealed.clone() };
        out.extend(spans.into_iter().map(|span| Found { span, revealed: revealed.clone(), ..found.clone() }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::projection::{self, Positions};
    use super::super::scanner::Wanted;
    use super::super::tests::{PLATFORM, counts, cut, examples, scan};
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Anywhere;

    impl Positions for Anywhere {
        type Role = bool;
        fn member(_: bool, _: &[u8]) -> bool {
            true
        }
        fn element(_: bool) -> bool {
            true
        }
    }

    /// For each part, which of its bytes were found to be something.
    fn found_in(parts: &[&str], most: usize) -> Option<Vec<Vec<bool>>> {
        let blocks = parts.iter().map(|part| serde_json::json!({"type": "text", "text": part}));
        let blocks: Vec<serde_json::Value> = blocks.collect();
        let body = serde_json::json!({"messages": [{"content": blocks}]}).to_string();
        let projection = projection::project::<Anywhere>(body.as_bytes()).unwrap();
        let all = |text: &[u8], parts: &[Range<usize>]| {
            let counts = |found: &mut Found, value: &[u8]| counts(&PLATFORM, found, value);
            PLATFORM.scan_parts(text, parts, &Wanted { threshold: 0.0, counts: &counts, most: usize::MAX })
        };
        let ranges: Vec<_> = projection.parts.iter().map(|part| part.text.clone()).collect();
        let mut found = all(&projection.text, &ranges).unwrap();
        let is_endless = |rule| PLATFORM.is_endless(rule);
        let look = Look { scan: &all, is_endless: &is_endless, most };
        found.extend(across(&look, body.as_bytes(), &projection, &found)?);
        let texts =
            projection.parts.iter().filter(|part| projection.list_of_texts(body.as_bytes(), part).is_some());
        let is_found = |at: usize| found.iter().any(|found| found.span.contains(&at));
        Some(texts.map(|part| part.text.clone().map(is_found).collect()).collect())
    }

    fn shown(parts: &[&str]) -> String {
        let found = found_in(parts, usize::MAX).unwrap();
        let show = |(part, found): (&&str, Vec<bool>)| -> String {
            part.bytes()
                .zip(found)
                .map(|(byte, is_found)| if is_found { '#' } else { char::from(byte) })
                .collect()
        };
        parts.iter().zip(found).map(show).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_value_cut_in_two_and_a_word_before_its_number_are_found() {
        assert_eq!(shown(&["pay 4111 1111 ", "1111 1111 now"]), "pay ##########|######### now");
        assert_eq!(shown(&["pay 4111 1111", "1111 1111 now"]), "pay #########|######### now");
        assert_eq!(shown(&["4", "1", "1", "1", "1111", "1111", "1111"]), "#|#|#|#|####|####|####");
        assert_eq!(
            shown(&["my social security number:", "536-90-4399"]),
            "my social security number:|###########"
        );
        assert_eq!(shown(&["a 4111 1111", "", "and then 1111 1111"]), "a 4111 1111||and then 1111 1111");
        let far = "all is well. ".repeat(300);
        assert_eq!(
            shown(&[&far, "4111 1111 ", &("1111 1111 ".to_owned() + &far)]),
            format!("{far}|##########|######### {far}")
        );
    }

    #[test]
    fn a_disguise_reaches_as_far_over_a_seam_as_what_it_says() {
        let far = "all is well. ".repeat(300);
        let token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
        let escaped = token.bytes().fold(String::new(), |out, byte| out + &format!("\\u{byte:04x}"));
        let unseen: String =
            token.chars().map(|letter| letter.to_string() + &"\u{200b}".repeat(100)).collect();
        for disguised in [&escaped, unseen.trim_end_matches('\u{200b}')] {
            let cut = disguised.char_indices().nth(disguised.chars().count() / 2).unwrap().0;
            let (begins, ends) = disguised.split_at(cut);
            let (begins, ends) = (far.clone() + begins, ends.to_owned() + " " + &far);
            let found = found_in(&[&begins, &ends], usize::MAX).unwrap();
            assert_eq!(open(&found), [far.len(), far.len() + 1]);
        }
    }

    /// How much of each part is nothing.
    fn open(found: &[Vec<bool>]) -> Vec<usize> {
        found.iter().map(|part| part.iter().filter(|is_found| !**is_found).count()).collect()
    }

    #[test]
    fn a_key_over_many_parts_is_found_to_its_end() {
        let line = "MIIEow/+ab0cdefghijklmnopqrstuvwxyz0123456789\n".repeat(900);
        let parts =
            ["so: -----BEGIN RSA PRIVATE KEY-----\n", &line, &line, "-----END RSA PRIVATE KEY----- and on"];
        let found = found_in(&parts, usize::MAX).unwrap();
        assert_eq!(open(&found), ["so: ".len(), 0, 0, " and on".len()]);
        let (begins, ends) = parts[0].split_at("so: -----BEGIN RSA P".len());
        let parts = [begins, ends, &line, "-----END RSA PRIVATE KEY----- and on"];
        let found = found_in(&parts, usize::MAX).unwrap();
        assert_eq!(open(&found), ["so: ".len(), 0, 0, " and on".len()]);
    }

    #[test]
    fn more_pieces_than_one_text_may_hold_are_refused() {
        let digits = "4111111111111111 ".repeat(40);
        let parts: Vec<&str> = digits.split_inclusive("").filter(|part| !part.is_empty()).collect();
        assert!(found_in(&parts, 10_000).is_some());
        assert_eq!(found_in(&parts, 600), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn what_is_found_in_a_text_is_found_in_its_parts(
            picks in prop::collection::vec((any::<prop::sample::Index>(), "[ ,;a-z]{0,12}"), 1..4),
            places in prop::collection::vec(any::<usize>(), 1..12),
        ) {
            let examples = examples();
            let text: String = picks.iter().map(|(pick, glue)| pick.get(&examples).clone() + glue).collect();
            let parts = cut(&text, &places);
            let found = found_in(&parts, usize::MAX).unwrap().concat();
            for one in scan(&text) {
                let missed = one.span.clone().find(|at| !found[*at]);
                prop_assert_eq!(missed, None, "{:?} in {:?}", one, parts);
            }
        }
    }
}
