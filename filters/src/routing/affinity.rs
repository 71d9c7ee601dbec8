//! What does a request have in common with others that should meet the same target? A provider's prompt cache is warm
//! where the same conversation was before.
//!
//! Needs a prompt as it is laid out for the scanner; gives a number that is the same in every process. It keeps no
//! text. What a caller writes to land elsewhere brings it to a target that it may use anyway.

use super::order::hashed;
use crate::documents::routes::StickyBy;
use crate::prompt::Prompt;

/// Parts that are looked at: what begins a conversation stands at its beginning.
const PARTS_MAX: usize = 2_000;

/// What the end user calls itself, in the words of both dialects.
const USER_PLACES: &[&[&str]] = &[&["safety_identifier"], &["user"], &["metadata", "user_id"]];
/// A caller that knows what belongs together says so.
const CACHE_KEY_PLACE: &[&str] = &["prompt_cache_key"];
/// What text stands in, in both dialects.
const TEXT_MEMBERS: &[&str] = &["messages", "system", "prompt", "input"];

/// What the prompt itself says of whom or what it belongs to; none: the key is all there is.
pub(crate) fn of(prompt: &Prompt, by: StickyBy) -> Option<u64> {
    match by {
        StickyBy::Key => None,
        StickyBy::User => USER_PLACES.iter().find_map(|place| at(prompt, place)),
        StickyBy::Conversation => at(prompt, CACHE_KEY_PLACE).or_else(|| conversation(prompt)),
    }
}

/// The value at a place.
fn at(prompt: &Prompt, keys: &[&str]) -> Option<u64> {
    let projection = &prompt.projection;
    let mut parts = projection.parts.iter().take(PARTS_MAX);
    let part = parts.find(|part| projection.is_at(&prompt.body, part, keys))?;
    Some(hashed(&[projection.text.get(part.value..part.text.end)?]))
}

/// Everything said up to the first message of a user, which does not change while a conversation grows. Without
/// messages, the text that there is.
fn conversation(prompt: &Prompt) -> Option<u64> {
    let mut said: Vec<&[u8]> = Vec::new();
    let mut of_user: Option<String> = None;
    for (place, value) in parts(prompt).filter(|(place, _)| is_text(place)) {
        let message = place.split('.').next().unwrap_or_default();
        if message.starts_with("messages") && of_user.as_deref().is_some_and(|first| first != message) {
            break;
        }
        if value == b"user" && place.ends_with("].role") {
            of_user = Some(message.to_owned());
        }
        said.push(value);
    }
    (!said.is_empty()).then(|| hashed(&said))
}

fn is_text(place: &str) -> bool {
    let outermost = place.split(['.', '[']).next().unwrap_or_default();
    TEXT_MEMBERS.contains(&outermost)
}

/// Places and values, in the order of the body.
fn parts(prompt: &Prompt) -> impl Iterator<Item = (String, &[u8])> {
    let projection = &prompt.projection;
    projection.parts.iter().take(PARTS_MAX).map(|part| {
        let value = projection.text.get(part.value..part.text.end).unwrap_or_default();
        (projection.place(&prompt.body, part), value)
    })
}
