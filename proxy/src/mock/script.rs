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
    /// `content`.
    Content,
    /// `refusal`, with `content: null`.
    Refusal,
    /// `reasoning_content` first, then `content`, both with the whole text.
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
    /// Spoil the JSON of the answer, or of the middle event.
    pub(super) malformed: bool,
    /// Answer 200 without a body.
    pub(super) empty: bool,
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
    /// Leave `data: [DONE]` out.
    pub(super) no_done: bool,
    /// Which field carries the text; the request decides when unset.
    pub(super) lane: Option<Lane>,
    /// Say this many bytes of filler instead of the echo.
    pub(super) bytes: Option<usize>,
    /// Say this instead of the echo or the filler.
    pub(super) answer: Option<Arc<str>>,
    /// Add `logprobs` although the request did not ask.
    pub(super) logprobs: bool,
    /// Prompt and completion tokens to claim.
    pub(super) usage: Option<(u64, u64)>,
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

/// One row of the table of settings.
pub(super) struct Setting {
    /// Name in a model name; in a header, `x-mock-` and the name with dashes.
    pub name: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// What the double then does.
    pub meaning: &'static str,
    apply: fn(&mut Script, &str) -> Option<()>,
}

const fn row(
    name: &'static str,
    form: &'static str,
    meaning: &'static str,
    apply: fn(&mut Script, &str) -> Option<()>,
) -> Setting {
    Setting { name, form, meaning, apply }
}

/// The table of settings: the only place that knows their names.
pub(super) const SETTINGS: &[Setting] = &[
    row(
        "status",
        "status=429",
        "an error of this status (300 to 599, not 304) in OpenAI's shape",
        |script, value| {
            script.status =
                Some(value.parse().ok().filter(|status| (300..=599).contains(status) && *status != 304)?);
            Some(())
        },
    ),
    row("retry_after", "retry_after=2", "`retry-after` header, in seconds", |script, value| {
        script.retry_after_seconds = Some(value.parse().ok()?);
        Some(())
    }),
    row("fail_times", "fail_times=2", "the faults strike K times, then all is well", |script, value| {
        script.fail_times = Some(value.parse().ok()?);
        Some(())
    }),
    row("name", "name=first", "the counter that `fail_times` counts on", |script, value| {
        script.name = Some(value.into());
        Some(())
    }),
    row(
        "reset",
        "reset=connect|header|body:N",
        "RST: before, inside, or N bytes after the head",
        |script, value| {
            script.end = match value {
                "connect" => End::ResetBeforeHead,
                "header" => End::ResetInHead,
                other => End::ResetAfter(other.strip_prefix("body:")?.parse().ok()?),
            };
            Some(())
        },
    ),
    row(
        "close",
        "close=100",
        "clean FIN after N body bytes, before the message's own end",
        |script, value| {
            script.end = End::CloseAfter(value.parse().ok()?);
            Some(())
        },
    ),
    row(
        "stall",
        "stall=header|100",
        "send nothing more before the head, or after N body bytes",
        |script, value| {
            script.end = match value {
                "header" => End::StallBeforeHead,
                number => End::StallAfter(number.parse().ok()?),
            };
            Some(())
        },
    ),
    row("malformed", "malformed", "broken JSON in the body, or in the middle event", |script, value| {
        script.malformed = flag(value)?;
        Some(())
    }),
    row("empty", "empty", "status 200 and no body", |script, value| {
        script.empty = flag(value)?;
        Some(())
    }),
    row("chunk", "chunk=3", "characters per delta", |script, value| {
        script.chunk = Some(value.parse().ok()?);
        Some(())
    }),
    row(
        "count",
        "count=64",
        "content deltas, sharing the text evenly; wins over `chunk`",
        |script, value| {
            script.count = Some(value.parse().ok().filter(|count: &NonZeroUsize| count.get() <= DELTAS_MAX)?);
            Some(())
        },
    ),
    row(
        "delay",
        "delay=20ms",
        "pause between events; `0ms` makes each event its own write",
        |script, value| {
            script.delay = Some(duration(value)?);
            Some(())
        },
    ),
    row("cut", "cut=17", "writes of exactly N bytes, through lines and characters", |script, value| {
        script.cut = Some(value.parse().ok()?);
        Some(())
    }),
    row("crlf", "crlf", "event lines end in CR LF", |script, value| {
        script.crlf = flag(value)?;
        Some(())
    }),
    row("comments", "comments", "an SSE comment before each event", |script, value| {
        script.comments = flag(value)?;
        Some(())
    }),
    row("no_usage", "no_usage", "no `usage`, even when asked for", |script, value| {
        script.no_usage = flag(value)?;
        Some(())
    }),
    row("no_done", "no_done", "no `data: [DONE]`", |script, value| {
        script.no_done = flag(value)?;
        Some(())
    }),
    row("lane", "lane=content|refusal|reasoning|tool", "which field carries the text", |script, value| {
        script.lane = Some(match value {
            "content" => Lane::Content,
            "refusal" => Lane::Refusal,
            "reasoning" => Lane::Reasoning,
            "tool" => Lane::Tool,
            _ => return None,
        });
        Some(())
    }),
    row("bytes", "bytes=1024", "an answer of N bytes of filler prose", |script, value| {
        script.bytes = Some(value.parse().ok().filter(|bytes| *bytes <= ANSWER_BYTES_MAX)?);
        Some(())
    }),
    row("answer", "answer=hello%20there", "this answer, percent-encoded", |script, value| {
        script.answer = Some(percent_decoded(value)?.into());
        Some(())
    }),
    row("logprobs", "logprobs", "`logprobs` although the request did not ask", |script, value| {
        script.logprobs = flag(value)?;
        Some(())
    }),
    row("usage", "usage=12/34", "claim these prompt and completion tokens", |script, value| {
        let (prompt, completion) = value.split_once('/')?;
        script.usage = Some((prompt.parse().ok()?, completion.parse().ok()?));
        Some(())
    }),
    row(
        "slow_header",
        "slow_header=200",
        "wait before the head; milliseconds, or with a unit",
        |script, value| {
            script.slow_header = Some(duration(value)?);
            Some(())
        },
    ),
];

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
            malformed: false,
            empty: false,
            slow_header: None,
            ..self
        }
    }

    /// Whether anything goes wrong; `fail_times` without a fault means status 500.
    #[must_use]
    pub(super) fn has_fault(&self) -> bool {
        self.status.is_some()
            || self.end != End::Whole
            || self.malformed
            || self.empty
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

fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads `20ms`, `1.5s`, `250us` or `2m`; a bare number is milliseconds. At most [`WAIT_MAX`].
#[must_use]
pub(super) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" | "" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * seconds_per_unit;
    Duration::try_from_secs_f64(seconds).ok().filter(|wait| *wait <= WAIT_MAX)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}
