//! Which models are there?
//!
//! Needs the dialect and, for one of them, its name. Proves nothing: any name that begins with `mock` exists, so that
//! a name can carry settings, and any other is served too.

use palisade_filters::Dialect;
use serde::Serialize;

use super::answer::Answer;
use super::script::Script;

/// The models that are listed.
const MODELS: &[&str] = &["mock-echo", "mock-small", "mock-large", "mock-embedding"];
/// When the models were made: a fixed time, so that answers compare. The same as Unix time, and by RFC 3339.
const CREATED: u64 = 1_700_000_000;
const CREATED_AT: &str = "2023-11-14T22:13:20Z";
/// Tokens that a model takes in, and gives out, as Anthropic says it.
const INPUT_TOKENS_MAX: u64 = 200_000;
const OUTPUT_TOKENS_MAX: u64 = 64_000;

#[derive(Serialize)]
#[serde(untagged)]
enum Model<'a> {
    OpenAi {
        id: &'a str,
        object: &'static str,
        created: u64,
        owned_by: &'static str,
    },
    Anthropic {
        #[serde(rename = "type")]
        tag: &'static str,
        id: &'a str,
        display_name: &'a str,
        created_at: &'static str,
        lifecycle: &'static str,
        max_input_tokens: u64,
        max_tokens: u64,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Models {
    OpenAi {
        object: &'static str,
        data: Vec<Model<'static>>,
    },
    Anthropic {
        data: Vec<Model<'static>>,
        has_more: bool,
        first_id: Option<&'static str>,
        last_id: Option<&'static str>,
    },
}

/// All models, in one page.
pub(super) fn list(dialect: Dialect, script: &Script) -> Answer {
    let data = MODELS.iter().map(|id| model(dialect, id)).collect();
    let models = match dialect {
        Dialect::OpenAi => Models::OpenAi { object: "list", data },
        Dialect::Anthropic => Models::Anthropic {
            data,
            has_more: false,
            first_id: MODELS.first().copied(),
            last_id: MODELS.last().copied(),
        },
    };
    Answer::json(200, &models, script)
}

/// One model.
pub(super) fn one(dialect: Dialect, id: &str, script: &Script) -> Answer {
    Answer::json(200, &model(dialect, id), script)
}

fn model(dialect: Dialect, id: &str) -> Model<'_> {
    match dialect {
        Dialect::OpenAi => Model::OpenAi { id, object: "model", created: CREATED, owned_by: "palisade-mock" },
        Dialect::Anthropic => Model::Anthropic {
            tag: "model",
            id,
            display_name: id,
            created_at: CREATED_AT,
            lifecycle: "active",
            max_input_tokens: INPUT_TOKENS_MAX,
            max_tokens: OUTPUT_TOKENS_MAX,
        },
    }
}
