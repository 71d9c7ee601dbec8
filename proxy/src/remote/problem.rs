//! Why did a control plane not do it? Its own words, made fit for a terminal.
//!
//! A server may be another one than it should be: what it sends is shown without control characters, and not at any
//! length.

use serde::Deserialize;

/// What is repeated of a text that a server sent.
const SHOWN_CHARS_MAX: usize = 1_000;
/// And of how many fields that are wrong.
const ERRORS_MAX: usize = 50;

/// Why it was not done, or may not have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// Nothing was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// Something was sent, and there is no whole answer.
    #[error("{0}; whether it did what it was asked is not known, `palisade diff` will tell")]
    Lost(String),
    /// It sends us elsewhere.
    #[error(
        "it answers with the status {0} and sends elsewhere, where no token is sent; name that address itself"
    )]
    Redirected(u16),
    /// It said no.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// Something else speaks there.
    #[error("{0}; is this a control plane of this version?")]
    Strange(String),
}

/// Problem details (RFC 9457).
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) detail: String,
    #[serde(default)]
    pub(super) errors: Vec<Wrong>,
    #[serde(default)]
    pub(super) permission: Option<String>,
}

/// A field that is wrong.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Wrong {
    #[serde(default)]
    pub(super) pointer: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Failed {
    /// An answer that is none of success.
    pub(super) fn of(status: u16, media_type: Option<&str>, body: &[u8]) -> Self {
        let is_problem =
            media_type.is_some_and(|media_type| media_type.starts_with("application/problem+json"));
        let read = || serde_json::from_slice::<Problem>(body).ok().filter(|_| is_problem);
        let Some(problem) = read() else {
            return Self::Strange(format!(
                "it answers with the status {status} and no problem that could be read"
            ));
        };
        let mut errors = problem.errors;
        errors.truncate(ERRORS_MAX);
        for error in &mut errors {
            *error = Wrong { pointer: plain(&error.pointer), message: plain(&error.message) };
        }
        let permission = problem.permission.as_deref().map(plain);
        Self::Refused(Problem { status, detail: plain(&problem.detail), errors, permission })
    }

    /// Whether there is no such thing, or it is not to be seen.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }

    /// Whether it may have been done all the same.
    pub(super) fn is_uncertain(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Strange(_) => true,
            Self::Refused(problem) => problem.status >= 500 && problem.status != 503,
            Self::Unreachable(_) | Self::Redirected(_) => false,
        }
    }
}

/// A server's text, as a terminal may show it.
pub(super) fn plain(text: &str) -> String {
    let is_plain = |character: char| !character.is_control() && !is_direction(character);
    let shown = text.chars().take(SHOWN_CHARS_MAX);
    shown.map(|character| if is_plain(character) { character } else { '\u{fffd}' }).collect()
}

/// What turns the order of a line around (Unicode, UAX #9).
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_does_not_write_on_the_terminal() {
        let body = br#"{"detail":"\u001b[2Jgone\u202e","errors":[{"pointer":"/a\n","message":"b\u0007"}]}"#;
        let Failed::Refused(problem) = Failed::of(422, Some("application/problem+json"), body) else {
            panic!()
        };
        assert_eq!(problem.detail, "\u{fffd}[2Jgone\u{fffd}");
        assert_eq!((&*problem.errors[0].pointer, &*problem.errors[0].message), ("/a\u{fffd}", "b\u{fffd}"));
        let long = format!("{{\"detail\":\"{}\"}}", "x".repeat(100_000));
        let Failed::Refused(problem) = Failed::of(400, Some("application/problem+json"), long.as_bytes())
        else {
            panic!()
        };
        assert_eq!(problem.detail.len(), SHOWN_CHARS_MAX);
        assert!(matches!(Failed::of(502, Some("text/html"), b"<html>"), Failed::Strange(_)));
        assert!(matches!(Failed::of(502, None, body), Failed::Strange(_)));
    }
}
