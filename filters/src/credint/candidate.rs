//! Which credentials may this piece of text be?
//!
//! What stands behind `password=` is rarely the password alone: quotes, spaces, a comma or the full stop of a sentence
//! come along, or it is one half of a login. Each form is asked, the text as it is first, and the strongest answer
//! counts. The decision needs the piece and nothing around it, so it is the same however a stream was cut.

use super::{Intelligence, Known};
use crate::dlp::entropy_bits;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;

/// Longer values are no passwords that anybody chose; a login in base64 has room in it.
const VALUE_BYTES_MAX: usize = 512;
/// Shorter ones are everywhere.
const VALUE_BYTES_MIN: usize = 4;
/// What a value needs to be no word: length, bits a byte, and more than letters.
const WORD_BYTES_MAX: usize = 7;
const WORD_ENTROPY_BITS_MAX: f32 = 2.75;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What of a rule's finding is a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialForm {
    /// All of it.
    Plain,
    /// What follows the first colon: `user:password`.
    Login,
    /// The same in base64 (RFC 7617).
    Basic,
    /// Nothing: a hash of a password, a public id.
    None,
}

/// The strongest that is known of any form of a value, and whether that form is [no word](is_no_word).
pub(super) fn ask(intelligence: &Intelligence, value: &[u8], form: CredentialForm) -> Option<(Known, bool)> {
    if value.len() > VALUE_BYTES_MAX || holds_label(value) {
        return None;
    }
    let whole = match form {
        CredentialForm::Plain => Cow::Borrowed(value),
        CredentialForm::Login => Cow::Borrowed(password_of(value)?),
        CredentialForm::Basic => Cow::Owned(password_of(&BASE64.decode(value).ok()?)?.to_vec()),
        CredentialForm::None => return None,
    };
    let is_wrapping = |byte: u8| byte.is_ascii_whitespace() || b"\"'`\\".contains(&byte);
    let unquoted = trim(&whole, is_wrapping);
    let is_trailing = |byte: &u8| is_wrapping(*byte) || b".,;:!?)]}>&".contains(byte);
    let end = unquoted.iter().rposition(|byte| !is_trailing(byte)).map_or(0, |last| last + 1);
    let bare = unquoted.get(..end).unwrap_or_default();
    let mut known = None;
    let mut before = usize::MAX;
    for form in [&whole, unquoted, bare] {
        let is_new = form.len() != before && (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&form.len());
        before = form.len();
        if is_new {
            known = known.max(intelligence.ask(form).map(|known| (known, is_no_word(form))));
        }
    }
    known
}

/// Whether a value is unlikely to be a word of a language, or a plain number.
fn is_no_word(value: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    value.len() > WORD_BYTES_MAX
        && has(u8::is_ascii_alphabetic)
        && has(|byte| !byte.is_ascii_alphabetic())
        && entropy_bits(value) > WORD_ENTROPY_BITS_MAX
}

fn password_of(login: &[u8]) -> Option<&[u8]> {
    let colon = login.iter().position(|byte| *byte == b':')?;
    login.get(colon + 1..)
}

fn trim(mut value: &[u8], is_wrapping: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = value
        && is_wrapping(*first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_wrapping(*last)
    {
        value = rest;
    }
    value
}

/// Whether a label of ours stands in it: what was redacted once is not asked again, whatever people chose.
fn holds_label(value: &[u8]) -> bool {
    let is_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    value.split(|byte| *byte == b'[').skip(1).any(|rest| {
        let name = rest.iter().take_while(|byte| is_label(byte)).count();
        name > 1 && rest.get(name) == Some(&b']')
    })
}
