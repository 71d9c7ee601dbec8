//! What did the caller ask the double to do with this one request?
//!
//! Needs a model name or control headers. Proves that every setting is known and inside its limits: an
//! unknown or misspelt one is a [`ScriptError`], never ignored, because a test whose fault silently did not
//! happen is a test that cannot fail. It does not act: `chat` and its neighbours shape the answer, `faults`
//! breaks it.
//!
//! The spellings, all with the same settings:
//!
//! - model `mock+status=429+retry_after=2`, or `mock:…`;
//! - model `mock@status:429@retry_after:2`, which stays inside the alphabet that gateways allow for model
//!   names, `[A-Za-z0-9_.:/@-]`;
//! - model `mock:{"status":429}` and header `x-mock-script: {"status":429}` (or either list form);
//! - header `x-mock-retry-after: 2`, one per setting. A header wins over the model name.

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::faults::End;
use super::settings::SETTINGS;

/// Longest time any setting may ask for. A stalled answer ends after it even if the caller never leaves.
pub(super) const WAIT_MAX: Duration = Duration::from_hours(1);
/// Largest filler answer, in bytes: as large as the largest request body, so that echo and filler agree.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most deltas in one stream, over all its choices: bounds the memory of a prepared stream to about 30 MiB
/// of envelopes.
pub(super) const DELTAS_MAX: usize = 100_000;

/// Which field of the answer carries the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// `content`; with Anthropic, a text block.
    Content,
    /// `refusal`, with `content: null`; with Anthropic, a text block and stop reason `refusal`.
    Refusal,
    /// `reasoning_content` first, then `content`, both with the whole text; with Anthropic, a signed thinking block,
    /// then a text block.
    Reasoning,
    /// A tool call with the text in its arguments.
    Tool,
}

/// Everything that can be asked of one answer. The default is a plain, whole, undelayed echo.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Script {
    /// Answer with this error status.
    pub(super) status: Option<u16>,
    /// `retry-after`, in seconds.
    pub(super) retry_after_seconds: Option<u32>,
    /// The faults of this script strike only this many times.
    pub(super) fail_times: Option<u32>,
    /// Whose failures `fail_times` counts. Without it: those of this exact model name.
    pub(super) name: Option<Arc<str>>,
    /// How the answer ends on the wire.
    pub(super) end: End,
    /// After so many events comes an error; a document is nothing but the error.
    pub(super) error_event: Option<usize>,
    /// Spoil the JSON of the answer, or of the middle event.
    pub(super) malformed: bool,
    /// Answer 200 without a body.
    pub(super) empty: bool,
    /// `content-type`, instead of the right one.
    pub(super) content_type: Option<Arc<str>>,
    /// `content-encoding`, though nobody asked for any.
    pub(super) encoding: Option<Arc<str>>,
    /// Characters per delta.
    pub(super) chunk: Option<NonZeroUsize>,
    /// Content deltas per choice. Wins over `chunk`.
    pub(super) count: Option<NonZeroUsize>,
    /// Pause between events. Zero still makes each event a write of its own.
    pub(super) delay: Option<Duration>,
    /// Bytes per write.
    pub(super) cut: Option<NonZeroUsize>,
    /// End the lines of events with CR LF.
    pub(super) crlf: bool,
    /// Put a comment line between events.
    pub(super) comments: bool,
    /// Leave `usage` out.
    pub(super) no_usage: bool,
    /// Leave out the event that ends a stream.
    pub(super) no_done: bool,
    /// Which field carries the text; the request decides when unset.
    pub(super) lane: Option<Lane>,
    /// Say this many bytes of filler instead of the echo.
    pub(super) bytes: Option<usize>,
    /// Say this instead of the echo or the filler.
    pub(super) answer: Option<Arc<str>>,
    /// Say the text once more, where no reference has a member.
    pub(super) extra: bool,
    /// Finish reason to claim.
    pub(super) stop: Option<Arc<str>>,
    /// Add `logprobs` although the request did not ask.
    pub(super) logprobs: bool,
    /// Prompt and completion tokens to claim.
    pub(super) usage: Option<(u64, u64)>,
    /// Cached tokens to claim: read, and written.
    pub(super) cached: Option<(u64, u64)>,
    /// Wait before the first byte of the answer.
    pub(super) slow_header: Option<Duration>,
}

/// Why a script cannot be followed. The text reaches the caller in a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScriptError {
    /// No row of [`SETTINGS`] has this name.
    #[error("unknown setting `{0}`: use one of {known}", known = known())]
    Unknown(String),
    /// The value does not have the form that the table gives.
    #[error("setting `{name}` cannot be `{value}`: write `{form}` for {meaning}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was written.
        value: String,
        /// What should have been written.
        form: &'static str,
        /// What that would have meant.
        meaning: &'static str,
    },
    /// The script begins like JSON and is none.
    #[error("script `{0}` is not a JSON object of numbers, strings and booleans")]
    Json(String),
}

impl Script {
    /// Follows the settings in a model name. A name that is not the double's own carries none.
    pub(super) fn follow_model(&mut self, model: &str) -> Result<(), ScriptError> {
        let Some(rest) = model.strip_prefix("mock") else {
            return Ok(());
        };
        // `mock-echo+chunk=3`: a name may go on after `mock`, up to the first separator.
        match rest.find(['+', ':', '@']).and_then(|at| rest.get(at + 1..)) {
            Some(settings) => self.follow(settings),
            None => Ok(()),
        }
    }

    /// Follows one `x-mock-…` header, given what stands behind that prefix.
    pub(super) fn follow_header(&mut self, name: &str, value: &str) -> Result<(), ScriptError> {
        if name.eq_ignore_ascii_case("script") {
            self.follow(value)
        } else {
            self.set(&name.to_ascii_lowercase().replace('-', "_"), value)
        }
    }

    /// The same script with nothing going wrong: what `fail_times` leaves when its failures are spent.
    #[must_use]
    pub(super) fn without_faults(self) -> Self {
        Script {
            status: None,
            retry_after_seconds: None,
            end: End::Whole,
            error_event: None,
            malformed: false,
            empty: false,
            content_type: None,
            encoding: None,
            slow_header: None,
            ..self
        }
    }

    /// Whether anything goes wrong; `fail_times` without a fault means status 500.
    #[must_use]
    pub(super) fn has_fault(&self) -> bool {
        self.status.is_some()
            || self.end != End::Whole
            || self.error_event.is_some()
            || self.malformed
            || self.empty
            || self.content_type.is_some()
            || self.encoding.is_some()
            || self.slow_header.is_some()
    }

    fn follow(&mut self, settings: &str) -> Result<(), ScriptError> {
        if settings.starts_with('{') {
            return self.follow_json(settings);
        }
        for setting in settings.split(['+', '@']).filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once(['=', ':']).unwrap_or((setting, ""));
            self.set(name, value)?;
        }
        Ok(())
    }

    fn follow_json(&mut self, settings: &str) -> Result<(), ScriptError> {
        let refused = || ScriptError::Json(settings.to_owned());
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(settings).map_err(|_| refused())?;
        for (name, value) in &object {
            match value {
                serde_json::Value::String(text) => self.set(name, text)?,
                serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {
                    self.set(name, &value.to_string())?;
                }
                serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(refused());
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ScriptError> {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
            return Err(ScriptError::Unknown(name.to_owned()));
        };
        (setting.apply)(self, value).ok_or_else(|| ScriptError::Value {
            name: setting.name,
            value: value.to_owned(),
            form: setting.form,
            meaning: setting.meaning,
        })
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(settings: &str) -> Result<Self, ScriptError> {
        let mut script = Script::default();
        script.follow(settings)?;
        Ok(script)
    }
}

fn known() -> String {
    SETTINGS.iter().map(|setting| format!("`{}`", setting.name)).collect::<Vec<_>>().join(", ")
}
