//! What must hold for any text that may read as something else than it says.

use palisade_filters::dlp::{Detection, Scanner, rules};
use std::sync::{Arc, LazyLock};

static DETECTION: LazyLock<Detection> =
    LazyLock::new(|| Detection::new(Arc::new(Scanner::new(rules::shipped().unwrap())), None));

/// A text, and what each of its disguises hides: findings lie in the text and on whole characters, in the order of
/// their places, and what stands behind more text is found there as well.
pub(crate) fn normalisation(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = DETECTION.scan(text.as_bytes());
    let mut last = 0;
    for one in &found {
        assert!(one.span.start < one.span.end && one.span.end <= text.len(), "{:?} of {text:?}", one.span);
        let is_whole = text.is_char_boundary(one.span.start) && text.is_char_boundary(one.span.end);
        assert!(is_whole, "{:?} cuts a character of {text:?}", one.span);
        assert!(last <= one.span.start, "findings are in order");
        last = one.span.start;
    }
    // A card behind any text, a line below, is a card, whatever that text makes of its own shadows.
    let behind = format!("{text}\n.\n4539578763621486");
    let card = behind.len() - 16..behind.len();
    let found = DETECTION.scan(behind.as_bytes());
    let covers = |span: &std::ops::Range<usize>| span.start <= card.start && card.end <= span.end;
    assert!(found.iter().any(|one| covers(&one.span)), "a card is lost behind {text:?}");
}
