//! What does a model cost, and how much can it write? The catalogue that is shipped, and what the platform adds.
//!
//! Prices are facts with a source and a date (`data/models.toml`), not promises: a platform that pays others writes
//! its own in `[[models]]`, which stand over those shipped. A model that nobody knows has no price, and none is
//! guessed.

use super::{Dollars, Usage};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

static SHIPPED: &str = include_str!("../../../data/models.toml");

/// Prices are per so many tokens.
const PRICED_TOKENS: u128 = 1_000_000;

/// A model, as a catalogue describes it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    /// How requests and routes name it at its provider.
    pub name: String,
    /// Other names of the same.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// In `platform.toml`, the one provider that it is about; in the shipped catalogue, who sells it.
    pub provider: Option<String>,
    /// What is spoken to it.
    pub dialect: Option<ModelDialect>,
    /// Tokens of prompt and answer together, at most.
    pub context_window: Option<u64>,
    /// Tokens of one answer, at most, reasoning included.
    pub output_limit: Option<u64>,
    /// What it is good for.
    pub tier: Option<Tier>,
    /// What its tokens cost; without one it is unpriced.
    pub price: Option<PriceDocument>,
    /// Where the facts were read.
    pub source: Option<String>,
    /// When: `2026-07-02`.
    pub date: Option<String>,
}

/// The API of a model at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelDialect {
    /// OpenAI's, which many others speak.
    Openai,
    /// Anthropic's.
    Anthropic,
}

/// What a model is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Cheap and quick.
    Fast,
    /// Between the two.
    Balanced,
    /// The best that its maker has.
    Powerful,
}

/// US dollars for a million tokens.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceDocument {
    /// Of the prompt.
    pub input: Dollars,
    /// Of the prompt, read from the provider's cache; if it is not said, like the rest of the prompt.
    pub cached_input: Option<Dollars>,
    /// Of the prompt, written to the provider's cache; if it is not said, like the rest of the prompt.
    pub cache_write: Option<Dollars>,
    /// Of the answer; nothing where there is none.
    #[serde(default)]
    pub output: Dollars,
    /// What all of a request's tokens cost instead, if its prompt is long.
    pub above: Option<LongPriceDocument>,
}

/// Prices of requests with a long prompt.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPriceDocument {
    /// A prompt with more tokens is long.
    pub prompt_tokens: u64,
    /// As in [`PriceDocument`].
    pub input: Dollars,
    /// As in [`PriceDocument`].
    pub cached_input: Option<Dollars>,
    /// As in [`PriceDocument`].
    pub cache_write: Option<Dollars>,
    /// As in [`PriceDocument`].
    pub output: Dollars,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    models: Vec<ModelDocument>,
}

/// The catalogue that comes with the product.
pub fn shipped() -> Result<Vec<ModelDocument>, toml::de::Error> {
    toml::from_str(SHIPPED).map(|file: File| file.models)
}

/// Models by name.
#[derive(Debug, Default)]
pub struct Catalogue {
    /// Under each name, in the order in which they count: of one provider, the platform's, those shipped.
    models: HashMap<String, Vec<Entry>>,
}

/// A model, and the one provider that it is about.
type Entry = (Option<String>, Arc<KnownModel>);

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// Tokens of one answer, at most.
    pub output_limit: Option<u64>,
    /// What its tokens cost.
    pub price: Option<Price>,
}

/// What tokens of a model cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    usual: Rates,
    long: Option<(u64, Rates)>,
}

/// Billionths of dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    output: u64,
}

impl Catalogue {
    /// Puts the platform's models over those shipped.
    pub fn compile(platform: &[ModelDocument]) -> Result<Self, String> {
        let shipped = shipped().map_err(|error| format!("the shipped catalogue cannot be read: {error}"))?;
        let mut catalogue = Self::default();
        for model in platform {
            catalogue.add(model, model.provider.as_deref())?;
        }
        for known in catalogue.models.values_mut() {
            known.sort_by_key(|(provider, _)| provider.is_none());
        }
        for model in &shipped {
            let known = Arc::new(KnownModel::of(model)?);
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                catalogue.models.entry(name.clone()).or_default().push((None, known.clone()));
            }
        }
        Ok(catalogue)
    }

    fn add(&mut self, model: &ModelDocument, provider: Option<&str>) -> Result<(), String> {
        let known = KnownModel::of(model).map_err(|problem| format!("model `{}`: {problem}", model.name))?;
        let known = Arc::new(known);
        for name in std::iter::once(&model.name).chain(&model.aliases) {
            if name.is_empty() || name.contains('*') {
                return Err(format!("model `{name}`: write its name in full; patterns have no price"));
            }
            let known_here = self.models.entry(name.clone()).or_default();
            if known_here.iter().any(|(other, _)| other.as_deref() == provider) {
                return Err(format!("the model `{name}` is described twice; keep one"));
            }
            known_here.push((provider.map(str::to_owned), known.clone()));
        }
        Ok(())
    }

    /// What is known of a model at a provider.
    pub fn find(&self, provider: &str, model: &str) -> Option<&KnownModel> {
        let known = self.models.get(model)?;
        let fits = |of: &Option<String>| of.as_deref().is_none_or(|of| of == provider);
        known.iter().find(|(of, _)| fits(of)).map(|(_, model)| &**model)
    }
}

impl KnownModel {
    fn of(model: &ModelDocument) -> Result<Self, String> {
        if model.output_limit == Some(0) || model.context_window == Some(0) {
            return Err("a limit of 0 tokens lets nothing through; leave it out if it is unknown".to_owned());
        }
        Ok(Self { output_limit: model.output_limit, price: model.price.as_ref().map(Price::of) })
    }
}

impl Price {
    fn of(document: &PriceDocument) -> Self {
        let PriceDocument { input, cached_input, cache_write, output, above } = *document;
        let long = above.map(|long| {
            (long.prompt_tokens, Rates::of(long.input, long.cached_input, long.cache_write, long.output))
        });
        Self { usual: Rates::of(input, cached_input, cache_write, output), long }
    }

    fn rates(&self, prompt_tokens: u64) -> Rates {
        self.long.filter(|(above, _)| prompt_tokens > *above).map_or(self.usual, |(_, rates)| rates)
    }

    /// What this usage costs, in billionths of dollars, rounded up.
    pub fn cost(&self, usage: Usage) -> u64 {
        let rates = self.rates(usage.prompt_tokens);
        let of_cache = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
        let amounts = [
            (usage.prompt_tokens.saturating_sub(of_cache), rates.input),
            (usage.cached_tokens, rates.cached_input),
            (usage.cache_write_tokens, rates.cache_write),
            (usage.completion_tokens, rates.output),
        ];
        total(&amounts)
    }

    /// The most that so many tokens can cost, in billionths of dollars: none come from a cache, all may go into one.
    pub fn worst(&self, prompt_tokens: u64, output_tokens: u64) -> u64 {
        let rates = self.rates(prompt_tokens);
        let input = rates.input.max(rates.cache_write);
        total(&[(prompt_tokens, input), (output_tokens, rates.output)])
    }
}

fn total(amounts: &[(u64, u64)]) -> u64 {
    let sum: u128 = amounts.iter().map(|(tokens, rate)| u128::from(*tokens) * u128::from(*rate)).sum();
    u64::try_from(sum.div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
}

impl Rates {
    fn of(
        input: Dollars,
        cached_input: Option<Dollars>,
        cache_write: Option<Dollars>,
        output: Dollars,
    ) -> Self {
        Self {
            input: input.nanos(),
            cached_input: cached_input.unwrap_or(input).nanos(),
            cache_write: cache_write.unwrap_or(input).nanos(),
            output: output.nanos(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn document(text: &str) -> Vec<ModelDocument> {
        toml::from_str::<File>(text).unwrap().models
    }

    #[test]
    fn every_shipped_model_has_its_facts_and_their_source_and_its_own_name() {
        let models = shipped().unwrap();
        assert!(models.len() >= 40, "{}", models.len());
        let mut names = BTreeSet::new();
        for model in &models {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                assert!(names.insert(name.clone()), "`{name}` is there twice");
            }
            let has_facts = model.provider.is_some()
                && model.dialect.is_some()
                && model.tier.is_some()
                && model.context_window.is_some()
                && model.price.is_some();
            assert!(has_facts, "{}", model.name);
            assert!(
                model.source.as_ref().is_some_and(|source| source.starts_with("https://")),
                "{}",
                model.name
            );
            let date = model.date.as_deref().unwrap();
            assert!(humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).is_ok(), "{}: {date}", model.name);
            let price = model.price.unwrap();
            // A model that writes costs more for what it writes, and less for what it has read already.
            assert!(price.output >= price.input || price.output == Dollars::default(), "{}", model.name);
            assert!(price.cached_input.is_none_or(|cached| cached <= price.input), "{}", model.name);
            assert!(price.above.is_none_or(|long| long.input >= price.input), "{}", model.name);
            assert!(model.output_limit <= model.context_window, "{}", model.name);
        }
        for maker in ["openai", "anthropic", "google", "mistral", "groq", "cohere"] {
            assert!(models.iter().any(|model| model.provider.as_deref() == Some(maker)), "{maker}");
        }
    }

    #[test]
    fn a_price_counts_every_kind_of_token_and_rounds_up() {
        let models = document(
            "[[models]]\nname = \"m\"\n[models.price]\ninput = \"3\"\ncached_input = \"0.30\"\n\
             cache_write = \"3.75\"\noutput = \"15\"\n\
             above = { prompt_tokens = 200000, input = \"6\", output = \"22.50\" }",
        );
        let catalogue = Catalogue::compile(&models).unwrap();
        let price = catalogue.find("any", "m").unwrap().price.unwrap();
        let usage = Usage {
            prompt_tokens: 1_000,
            cached_tokens: 600,
            cache_write_tokens: 100,
            completion_tokens: 10,
        };
        // 300 × 3 000 + 600 × 300 + 100 × 3 750 + 10 × 15 000 billionths.
        assert_eq!(price.cost(usage), 900_000 + 180_000 + 375_000 + 150_000);
        assert_eq!(price.worst(1_000, 10), 3_750_000 + 150_000);
        let long = Usage { prompt_tokens: 200_001, ..Usage::default() };
        assert_eq!(price.cost(long), 200_001 * 6_000);
        let models = document("[[models]]\nname = \"m\"\nprice = { input = \"0.000001\" }");
        let price = Catalogue::compile(&models).unwrap().find("any", "m").unwrap().price.unwrap();
        assert_eq!(
            price.cost(Usage { prompt_tokens: 1, ..Usage::default() }),
            1,
            "a fraction is a whole one"
        );
        assert_eq!(price.worst(u64::MAX, 0), u64::MAX / 1_000 + 1, "no overflow");
    }

    #[test]
    fn the_platforms_own_prices_stand_over_those_shipped() {
        let shipped = shipped().unwrap();
        let name = &shipped.first().unwrap().name;
        let models = document(&format!(
            "[[models]]\nname = \"{name}\"\nprice = {{ input = \"1\" }}\n\
             [[models]]\nname = \"{name}\"\nprovider = \"cheap\"\noutput_limit = 7"
        ));
        let catalogue = Catalogue::compile(&models).unwrap();
        let price = |provider| catalogue.find(provider, name).and_then(|model| model.price);
        let thousand = Usage { prompt_tokens: 1_000, ..Usage::default() };
        assert_eq!(price("dear").unwrap().cost(thousand), 1_000_000);
        assert_eq!(price("cheap"), None, "what is said of one provider is all that is said");
        assert_eq!(catalogue.find("cheap", name).unwrap().output_limit, Some(7));
        assert!(catalogue.find("any", "nobody-knows-it").is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "[[models]]\nname = \"gpt-*\"",
            "[[models]]\nname = \"a\"\n[[models]]\nname = \"b\"\naliases = [\"a\"]",
            "[[models]]\nname = \"a\"\noutput_limit = 0",
        ] {
            assert!(Catalogue::compile(&document(text)).is_err(), "{text}");
        }
        assert!(toml::from_str::<File>("[[models]]\nname = \"a\"\nprice = { input = 2.5 }").is_err());
    }
}
