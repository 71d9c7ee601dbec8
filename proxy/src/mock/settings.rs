//! Which settings are there, how is each written, and what does it do?
//!
//! Needs the value that stands behind a setting's name. Proves that it has the form of its row; `script` collects
//! them. The table is the only place that knows their names, and the documentation of the module is held against it.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::faults::End;
use super::script::{ANSWER_BYTES_MAX, DELTAS_MAX, Lane, Script, WAIT_MAX};

/// Longest content type or coding that can be asked for, in bytes.
const HEADER_VALUE_BYTES_MAX: usize = 64;

/// One row of the table of settings.
pub(super) struct Setting {
    /// Name in a model name; in a header, `x-mock-` and the name with dashes.
    pub name: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// What the double then does.
    pub meaning: &'static str,
    /// Notes the value in a script; none: the value has not the row's form.
    pub apply: fn(&mut Script, &str) -> Option<()>,
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
        "an error of this status (300 to 599, not 304) in the dialect's shape",
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
    row(
        "error_event",
        "error_event=3",
        "an error in the dialect's shape after N events, or as a whole document, under status 200",
        |script, value| {
            script.error_event = Some(value.parse().ok()?);
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
    row(
        "content_type",
        "content_type=text/html",
        "this content type, whatever the body is",
        |script, value| {
            script.content_type = Some(header_value(value)?.into());
            Some(())
        },
    ),
    row(
        "encoding",
        "encoding=gzip",
        "this `content-encoding`, unasked; of `gzip` the body really is, of others it is not",
        |script, value| {
            script.encoding = Some(header_value(value)?.into());
            Some(())
        },
    ),
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
    row("no_done", "no_done", "no `data: [DONE]`, no `message_stop`", |script, value| {
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
    row(
        "extra",
        "extra",
        "members and events that no reference knows, with the text in them",
        |script, value| {
            script.extra = flag(value)?;
            Some(())
        },
    ),
    row("stop", "stop=max_tokens", "claim this finish reason, or stop reason", |script, value| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        script.stop =
            Some(value).filter(|value| !value.is_empty() && value.bytes().all(is_word)).map(Into::into);
        script.stop.is_some().then_some(())
    }),
    row("logprobs", "logprobs", "`logprobs` although the request did not ask", |script, value| {
        script.logprobs = flag(value)?;
        Some(())
    }),
    row("usage", "usage=12/34", "claim these prompt and completion tokens", |script, value| {
        script.usage = Some(two_numbers(value)?);
        Some(())
    }),
    row(
        "cached",
        "cached=5/6",
        "claim these tokens as read from, and written to, a prompt cache",
        |script, value| {
            script.cached = Some(two_numbers(value)?);
            Some(())
        },
    ),
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

fn two_numbers(value: &str) -> Option<(u64, u64)> {
    let (one, other) = value.split_once('/')?;
    Some((one.parse().ok()?, other.parse().ok()?))
}

/// What may stand in a header without ending it.
fn header_value(value: &str) -> Option<&str> {
    let fits = !value.is_empty() && value.len() <= HEADER_VALUE_BYTES_MAX;
    (fits && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())).then_some(value)
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
