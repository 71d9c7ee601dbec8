//! Scenarios in memory: the pure core from key to answer, without a socket.
//!
//! What the proxy adds is imitated in as few lines as it takes: counting, and what a client reads of a refusal or of
//! a provider's failure. Every answer is pushed whole and in pieces, which must come to the same.

use crate::http::{Answer as Read, Told};
use crate::provider::Said;
use crate::scenario::{Case, Outcome, all};
use crate::world;
use bytes::Bytes;
use palisade_filters::answer::failure;
use palisade_filters::answer::{Answer, AnswerFault, Flow};
use palisade_filters::credint::{self, Base, Delta, Intelligence, Key};
use palisade_filters::dialect::ErrorText;
use palisade_filters::dlp::{Scanner, rules};
use palisade_filters::policy::compile::{CompileError, Grounds, Source};
use palisade_filters::quota::{Ask, CounterId, LimitHit, MeterRefusal, Receipt, Window};
use palisade_filters::secret::Secret;
use palisade_filters::{
    self as filters, Cleared, Dialect, Knock, Location, Outlook, Policy, Refusal, Surface, Trust, Visitor,
};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// The detection rules, read once: that costs more than everything else here.
pub(crate) static SCANNER: LazyLock<Arc<Scanner>> =
    LazyLock::new(|| Arc::new(Scanner::new(rules::shipped().unwrap())));

/// What the shipped list knows, and these reports.
fn intelligence(reported: &[String]) -> Arc<Intelligence> {
    static SHIPPED: LazyLock<Base> = LazyLock::new(|| credint::shipped().unwrap());
    static UNREPORTED: LazyLock<Arc<Intelligence>> =
        LazyLock::new(|| Arc::new(Intelligence::new(Some(SHIPPED.clone()), Delta::default())));
    if reported.is_empty() {
        return UNREPORTED.clone();
    }
    let delta: Delta = reported.iter().map(|text| Key::of(text.as_bytes())).collect();
    Arc::new(Intelligence::new(Some(SHIPPED.clone()), delta))
}

/// What was found in long texts of all tests.
pub(crate) static MEMORY: LazyLock<filters::Memory> =
    LazyLock::new(|| filters::Memory::new(*b"no secret at all", 1 << 20));

/// 2030-01-01, so that keys can be over and others not yet.
const NOW_MS: u64 = 1_893_456_000_000;

const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// Counts as the proxy's meters do, in windows that never end.
#[derive(Default)]
struct Meters(HashMap<CounterId, u64>);

impl Meters {
    fn reserve(&mut self, ask: &Ask) -> Result<Receipt, MeterRefusal> {
        for (_, limit, amount) in ask.lines() {
            let used = self.0.get(&limit.counter).copied().unwrap_or(0);
            if limit.hard.is_some_and(|most| used + amount > most) {
                let most = limit.hard.unwrap_or(0);
                return Err(MeterRefusal::Hit(Box::new(LimitHit {
                    limit: limit.clone(),
                    left: most.saturating_sub(used),
                    retry_after_ms: (amount <= most).then_some(60_000),
                    resets_ms: limit.window.ends_ms(NOW_MS),
                })));
            }
        }
        // Nothing is under way at once: scenarios ask one thing after the other.
        for (_, limit, amount) in ask.lines().filter(|(_, limit, _)| limit.window != Window::AtOnce) {
            *self.0.entry(limit.counter).or_default() += amount;
        }
        Ok(Receipt { ask: ask.clone(), ..Receipt::default() })
    }
}

/// Compiles documents; those of scenarios must compile.
pub(crate) fn policy(platform: &str, organisations: &[&str]) -> Policy {
    let (policy, errors) = compile(platform, organisations);
    assert_eq!(errors, []);
    policy.unwrap()
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Compiles documents, right or wrong ones.
pub(crate) fn compile(platform: &str, organisations: &[&str]) -> (Option<Policy>, Vec<CompileError>) {
    fn source<D: DeserializeOwned>(name: &str, text: &str) -> Source<D> {
        let document = toml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        let fingerprint = fingerprint(text);
        Source { name: name.to_owned(), fingerprint, document: Ok(document) }
    }
    let secrets = HashMap::new();
    let hash_secret = Secret::new("00".repeat(32));
    let grounds = Grounds { scanner: SCANNER.clone(), secrets: &secrets, hash_secret: &hash_secret };
    let platform = source("platform.toml", platform);
    let organisations: Vec<_> =
        organisations.iter().enumerate().map(|(at, text)| source(&format!("orgs/{at}.toml"), text)).collect();
    Policy::compile(None, &platform, &organisations, &grounds)
}

/// Someone with this key, here and now.
pub(crate) fn visitor(policy: &Policy, secret: &str) -> Visitor {
    let knock = Knock { credentials: &[secret.to_owned()], address: HERE, certificate: None, now_ms: NOW_MS };
    let caller = filters::identify(policy, &Trust::default(), &knock).unwrap();
    let located = filters::locate(caller, &knock, Location::default()).unwrap();
    filters::recognize(located, &knock, &intelligence(&[])).unwrap()
}

fn run(case: &Case) -> Outcome {
    let platform = crate::wire::platform(case, [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]);
    run_under(case, &policy(&platform, &[&case.organisation_text()]))
}

/// The same, under a policy that is compiled already.
pub(crate) fn run_under(case: &Case, policy: &Policy) -> Outcome {
    let mut meters = Meters::default();
    for _ in 0..case.before {
        let _ = ask(case, policy, &mut meters);
    }
    ask(case, policy, &mut meters)
        .unwrap_or_else(|refusal| Outcome { answer: Some(refused(case, &refusal)), ..Outcome::default() })
}

fn surface(case: &Case) -> Surface {
    match case.request.path.as_str() {
        "/v1/chat/completions" => Surface::ChatCompletions,
        "/v1/completions" => Surface::Completions,
        "/v1/embeddings" => Surface::Embeddings,
        "/v1/messages" => Surface::Messages,
        "/v1/messages/count_tokens" => Surface::CountTokens,
        other => panic!("`{other}` is not for the core; say why in `wire_only`"),
    }
}

/// The way of a request, as `proxy::serve` goes it.
fn ask(case: &Case, policy: &Policy, meters: &mut Meters) -> Result<Outcome, Refusal> {
    let headers = case.headers();
    let credentials: Vec<String> = ["authorization", "x-api-key", "api-key", "x-goog-api-key"]
        .iter()
        .filter_map(|name| headers.iter().find(|(known, _)| known == name))
        .map(|(_, value)| value.trim_start_matches("Bearer ").trim().to_owned())
        .collect();
    let address = case.address.or(HERE);
    let location = case.address.map(world::location).unwrap_or_default();
    let knock = Knock { credentials: &credentials, address, certificate: None, now_ms: NOW_MS };
    let caller = filters::identify(policy, &Trust::default(), &knock)?;
    let located = filters::locate(caller, &knock, location)?;
    let visitor = filters::recognize(located, &knock, &intelligence(&case.reported()))?;
    meters.reserve(&filters::gate(&visitor)).map_err(MeterRefusal::into_refusal)?;
    let betas = headers.iter().filter(|(name, _)| name == "anthropic-beta");
    let betas = betas.flat_map(|(_, value)| value.split(',')).map(|name| name.trim().to_owned()).collect();
    let prompt = filters::read(&visitor, surface(case), Bytes::from(case.body()))?.with_version(None, betas);
    let cleared = filters::clear(&visitor, &MEMORY, prompt)?;
    let application = filters::apply(&visitor, &cleared)?;
    let receipt = meters.reserve(application.ask());
    let admission = filters::admit(application, receipt, &Outlook::default())?;
    // Which targets fail is the providers' doing: the scenario says how many were tried.
    let tried = case.expect.attempts.as_ref().map_or(1, Vec::len).max(1);
    let targets = admission.itinerary.targets.iter().take(tried);
    let body = |target| String::from_utf8(cleared.for_target(target).to_vec()).unwrap();
    let forwarded = targets.map(body).collect();
    let answer = case.answers.get(tried - 1).map(|said| answer(&visitor, &cleared, said));
    Ok(Outcome { answer, forwarded, event: None })
}

fn error(dialect: Dialect, status: u16, text: &ErrorText<'_>) -> Read {
    let body = dialect.error_body(text, "");
    Read { status, body: body.to_string().into_bytes(), is_whole: true, ..Read::default() }
}

fn refused(case: &Case, refusal: &Refusal) -> Read {
    let (row, dialect) = (refusal.row(), surface(case).dialect());
    let (message, kind) = (refusal.message(), dialect.error_type(row));
    let text = ErrorText { message: &message, kind, code: Some(row.code), param: refusal.param() };
    error(dialect, row.status, &text)
}

fn unavailable(dialect: Dialect) -> Read {
    let kind = match dialect {
        Dialect::OpenAi => "server_error",
        Dialect::Anthropic => "api_error",
    };
    error(dialect, 502, &ErrorText { message: "", kind, code: Some("upstream_unavailable"), param: None })
}

/// What a client reads of this answer.
fn answer(visitor: &Visitor, cleared: &Cleared, said: &Said) -> Read {
    let dialect = cleared.head().surface.dialect();
    if said.status >= 400 && !matches!(said.status, 401 | 403 | 408 | 429 | 500..) {
        let failure = failure::read(visitor, said.body.as_bytes());
        let text = ErrorText {
            message: &failure.message.unwrap_or_default(),
            kind: failure.kind.as_deref().unwrap_or(dialect.kind_of_status(said.status)),
            code: failure.code.as_deref(),
            param: failure.param.as_deref(),
        };
        return error(dialect, said.status, &text);
    }
    if said.status != 200 {
        return unavailable(dialect);
    }
    let body = &said.body.as_bytes()[..said.cut.unwrap_or(said.body.len())];
    let whole = read(visitor, cleared, &said.content_type, &[body], said.cut.is_some());
    for size in [1, 7] {
        let chunks: Vec<&[u8]> = body.chunks(size).collect();
        let pieces = read(visitor, cleared, &said.content_type, &chunks, said.cut.is_some());
        if said.content_type.starts_with("text/event-stream") && whole.status == 200 {
            assert_eq!(Told::read(&pieces.body), Told::read(&whole.body), "in pieces of {size}");
        } else {
            assert_eq!(pieces.text(), whole.text(), "in pieces of {size}");
        }
    }
    whole
}

fn read(visitor: &Visitor, cleared: &Cleared, kind: &str, chunks: &[&[u8]], is_cut: bool) -> Read {
    let (out, fault) = pushed(visitor, cleared, kind, chunks, is_cut);
    let dialect = cleared.head().surface.dialect();
    match fault {
        Some(_) if out.is_empty() => unavailable(dialect),
        fault => {
            let mut body = out;
            if fault.is_some() {
                let name = if dialect == Dialect::Anthropic { "event: error\n" } else { "" };
                let event = format!("{name}data: {}\n\n", unavailable(dialect).text());
                body.extend_from_slice(event.as_bytes());
            }
            Read { status: 200, body, is_whole: true, ..Read::default() }
        }
    }
}

/// Pushes an answer piece by piece: what leaves, and what went wrong.
pub(crate) fn pushed(
    visitor: &Visitor,
    cleared: &Cleared,
    kind: &str,
    chunks: &[&[u8]],
    is_cut: bool,
) -> (Vec<u8>, Option<AnswerFault>) {
    let mut out = Vec::new();
    let mut answer = match Answer::begin(visitor, cleared, Some(kind)) {
        Ok(answer) => answer,
        Err(fault) => return (out, Some(fault)),
    };
    for chunk in chunks {
        match answer.push(chunk, &mut out) {
            Ok(Flow::Open) => {}
            Ok(Flow::Ended) => return (out, None),
            Err(fault) => return (out, Some(fault)),
        }
    }
    if is_cut && !answer.is_stream() {
        return (out, Some(AnswerFault::Truncated));
    }
    let fault = answer.finish(&mut out).err();
    (out, fault)
}

#[test]
fn every_scenario_holds_in_memory() {
    let mut wrong = Vec::new();
    let mut judged = 0;
    for case in all().iter().filter(|case| case.wire_only.is_none()) {
        judged += 1;
        let found = case.judge(&run(case));
        wrong.extend(found.into_iter().map(|problem| format!("{}: {problem}", case.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged >= 40, "only {judged} scenarios are for the core");
}
