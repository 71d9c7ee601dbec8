//! What does a scalar of an answer say? Read where a dialect's table says what it means.

use crate::dlp::projection::{Mark, Value};

/// No model reads or writes so many tokens at once; who states more is not believed.
pub(super) const TOKENS_MAX: u64 = 20_000_000;

/// A number at a mark.
pub(super) fn number<R>(body: &[u8], mark: &Mark<R>) -> Option<u64> {
    if mark.value != Value::Number {
        return None;
    }
    std::str::from_utf8(body.get(mark.raw.clone())?).ok()?.parse().ok()
}

/// A plain string at a mark; one with escapes is nobody's model name.
pub(super) fn string<R>(body: &[u8], mark: &Mark<R>) -> Option<String> {
    if mark.value != Value::String {
        return None;
    }
    let raw = body.get(mark.raw.start + 1..mark.raw.end - 1)?;
    let is_id = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
    (raw.len() <= 128 && raw.iter().all(is_id)).then(|| String::from_utf8_lossy(raw).into_owned())
}
