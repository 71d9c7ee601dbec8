//! What does the text hold, and may it leave?
//!
//! Detection (`scanner` and what it is built from) finds; `policy::decide` judges; here both meet on a prompt and
//! yield the only thing that can be sent: [`Cleared`].

pub mod bytes;
pub mod dictionary;
pub mod exact;
pub mod lane;
pub mod memory;
pub mod projection;
pub mod proof;
pub mod redact;
pub mod replacement;
pub mod rules;
pub mod service;
pub mod splice;
pub mod validators;

mod anchors;
mod automaton;
mod detection;
mod detector;
mod digits;
mod endless;
mod lists;
mod matcher;
pub(crate) mod originals;
mod own;
mod parts;
mod places;
mod quotes;
mod regions;
mod scanner;
mod seams;
mod shadow;
mod streaks;
#[cfg(test)]
mod tests;
mod tokens;
mod words;

pub use detection::Detection;
pub use detector::Detector;
pub use lists::Lists;
pub(crate) use matcher::entropy_bits;
pub use own::{NAMESPACE as OWN_NAMESPACE, Own};
pub use scanner::{Found, Scanner};

use crate::credint::{self, CredentialForm, Intelligence, Known};
use crate::documents::routes::StickyBy;
use crate::documents::{Direction, OnFailure};
use crate::names::matches;
use crate::policy::Tenant;
use crate::policy::compile::keyed_hash;
use crate::policy::decide::{Gate, Judgement, Reason};
use crate::prompt::{Head, Prompt};
use crate::refusal::{Blocked, Refusal};
use crate::routing::{self, AuthorisedTarget};
use crate::tenant::Visitor;
use ::bytes::Bytes;
use lane::Action;
use memory::Memory;
use originals::Originals;
use projection::{Meaning, Projection};
use replacement::{Key, Mode};
use scanner::Wanted;
use seams::Look;
use service::{Question, Told};
use splice::Edit;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Findings that one request may have; a text with more was made to have them.
pub const FINDINGS_MAX: usize = 10_000;

/// A finding as it is remembered: everything but the text.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What found it.
    pub detector: Arc<Detector>,
    /// Which way the text went.
    pub direction: Direction,
    /// Where: `messages[2].content`.
    pub place: String,
    /// Bytes of the match.
    pub length: usize,
    /// From 0 to 1.
    pub confidence: f32,
    /// Whether a checksum agreed.
    pub validated: bool,
    /// How it is known to be compromised, if it is.
    pub known: Option<Known>,
    /// What was done about it.
    pub action: Action,
    /// Which policy rules said so.
    pub reasons: Vec<Reason>,
    /// What would have been done if no rule were monitored, where that is stricter.
    pub would: Option<Action>,
    /// Whether the organisation wants nothing done about it.
    pub is_suppressed: bool,
    /// Whether it is remembered from a text that was sent before.
    pub is_repeated: bool,
    /// A hash under the organisation's key: equal values show as equal, and nothing else shows.
    pub hash: [u8; 8],
}

/// Judges the findings of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    tenant: &'a Tenant,
    visitor: &'a Visitor,
    direction: Direction,
    /// What candidates in texts are asked of, unless the organisation does without.
    intelligence: Option<&'a Intelligence>,
    /// What was found in texts that came before.
    memory: Option<&'a Memory>,
    /// What was taken out of the prompt to be put back.
    originals: Option<&'a Originals>,
}

impl<'a> Judge<'a> {
    /// A judge for a visitor's texts in one direction.
    pub fn new(visitor: &'a Visitor, direction: Direction) -> Self {
        let tenant = visitor.tenant();
        let intelligence = tenant.credint.text.then(|| visitor.intelligence());
        Self { tenant, visitor, direction, intelligence, memory: None, originals: None }
    }

    /// A judge who scans no long text twice.
    #[must_use]
    pub fn with_memory(self, memory: &'a Memory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// What is looked for.
    pub fn detection(&self) -> &'a Detection {
        self.tenant.detection()
    }

    /// Whether anybody wants to know what stands in these texts: without a rule that looks this way, in the floor and
    /// in the organisation's chain, and without the question for leaked credentials, nothing is searched for.
    pub(crate) fn looks(&self) -> bool {
        self.intelligence.is_some() || self.tenant.chains.looks_at(self.direction)
    }

    /// Everything that counts in a text of parts; `None`: more than one text may hold.
    fn scan_parts(&self, text: &[u8], parts: &[Range<usize>]) -> Option<Vec<Found>> {
        if !self.looks() {
            return Some(Vec::new());
        }
        match self.memory.and_then(|memory| memory.of(self.visitor, parts)) {
            Some(known) => known.scan(text, parts, FINDINGS_MAX, &|text, parts| self.scan_new(text, parts)),
            None => self.scan_new(text, parts),
        }
    }

    fn scan_new(&self, text: &[u8], parts: &[Range<usize>]) -> Option<Vec<Found>> {
        let counts = |found: &mut Found, value: &[u8]| self.weigh(found, value);
        let wanted = Wanted { threshold: self.tenant.threshold, counts: &counts, most: FINDINGS_MAX };
        self.detection().scan_parts(text, parts, &wanted)
    }

    /// Adds what stands over the seams between texts of one message. Of a prompt only: in answers each block is a lane
    /// of its own, whether it comes whole or in a stream.
    fn scan_seams<R: Meaning>(
        &self,
        body: &[u8],
        projection: &Projection<R>,
        found: &mut Vec<Found>,
    ) -> Option<()> {
        if !self.looks() || self.direction != Direction::Input {
            return Some(());
        }
        let look = Look {
            scan: &|text, parts| self.scan_new(text, parts),
            is_endless: &|number| self.detection().is_endless(number),
            most: FINDINGS_MAX,
        };
        let mut pieces = seams::across(&look, body, projection, found)?;
        if !pieces.is_empty() {
            found.append(&mut pieces);
            found.sort_by_key(Found::order);
        }
        Some(())
    }

    /// Whether a finding counts at all. A credential is weighed by what is known of it: it may rise above the
    /// threshold, and what it is known for is noted.
    pub fn weigh(&self, found: &mut Found, value: &[u8]) -> bool {
        let detector = self.detection().detector(found.rule);
        let form = detector.map_or(CredentialForm::None, |detector| detector.credential);
        if let Some(intelligence) = self.intelligence.filter(|_| form != CredentialForm::None) {
            let (known, confidence) = credint::weigh(intelligence, value, form);
            found.known = known;
            found.confidence = found.confidence.max(confidence);
        }
        found.confidence >= self.tenant.threshold
    }

    /// Whether answers could be changed: then nothing may state their text a second time.
    pub fn redacts_output(&self) -> bool {
        self.tenant.chains.acts_on_output()
    }

    /// What is to be done about a finding.
    pub fn judge(&self, found: &Found, value: &[u8]) -> Judgement {
        let is_suppressed = self.tenant.suppressions.hold(found, value, self.visitor.came_ms());
        let mut judgement = self.tenant.chains.judge(found, is_suppressed, self.direction, self.visitor);
        if let Action::Redact(mode) = &mut judgement.action {
            *mode = self.detection().mode(found.rule, *mode);
            if self.direction != Direction::Input && *mode == Mode::Reversible {
                // There is no answer to an answer.
                *mode = Mode::Tag;
            }
        }
        judgement
    }

    /// A judge of answers, into which these values are put back.
    #[must_use]
    pub(crate) fn with_originals(self, originals: &'a Originals) -> Self {
        Self { originals: Some(originals).filter(|originals| !originals.is_empty()), ..self }
    }

    /// What is put back, if anything is.
    pub(crate) fn originals(&self) -> Option<&'a Originals> {
        self.originals
    }

    /// Whether values are put back into what the tool of this name is called with.
    pub(crate) fn restores_in_tool(&self, name: &str) -> bool {
        self.tenant.restore_in_tools.iter().any(|pattern| matches(pattern, name))
    }

    /// What replaced values are named by.
    pub(crate) fn replacements(&self) -> &'a Key {
        &self.tenant.replacements
    }

    /// What is remembered of it.
    pub fn remember(
        &self,
        found: &Found,
        judgement: Judgement,
        value: &[u8],
        place: String,
    ) -> Option<Finding> {
        let hash = keyed_hash(&self.tenant.hash_key, value);
        Some(Finding {
            detector: self.detection().detector(found.rule)?.clone(),
            direction: self.direction,
            place,
            length: found.span.len(),
            confidence: found.confidence,
            validated: found.validated,
            known: found.known,
            action: judgement.action,
            reasons: judgement.reasons,
            would: judgement.would,
            is_suppressed: judgement.is_suppressed,
            is_repeated: found.is_repeated,
            hash: *hash.first_chunk()?,
        })
    }
}

/// A prompt that may leave, with what must be changed on the way. The only way to its bytes is
/// [`Cleared::for_target`].
#[derive(Debug)]
pub struct Cleared {
    body: Bytes,
    head: Head,
    edits: Vec<Edit>,
    findings: Vec<Finding>,
    originals: Arc<Originals>,
    /// What routes stick to, as far as it stands in the prompt.
    affinities: Vec<(StickyBy, Option<u64>)>,
    /// The monitored rule that would have refused it, whatever it holds.
    would_block: Option<Reason>,
}

/// A prompt that was scanned, and what services are still to be asked about it.
#[derive(Debug)]
pub struct Scanned {
    prompt: Prompt,
    found: Vec<Found>,
    questions: Vec<Question>,
}

impl Scanned {
    /// What is to be asked, of one service each. Most organisations have none.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }
}

/// Scans a prompt, and says what services are to be asked about it.
pub fn scan(visitor: &Visitor, memory: &Memory, prompt: Prompt) -> Result<Scanned, Refusal> {
    let judge = Judge::new(visitor, Direction::Input).with_memory(memory);
    let found = redact::find(&judge, &prompt.body, &prompt.projection, |part| part.text.clone())?;
    let services = if judge.looks() { &*visitor.tenant().services } else { &[] };
    let questions = service::questions(services, &prompt);
    Ok(Scanned { prompt, found, questions })
}

/// Judges what a prompt holds, and what services say of it, and clears it or refuses. To each question an answer; where
/// there is none, the organisation has said what follows.
///
/// This stands before model access and quota on purpose: every attempt to leak is seen, and a blocked prompt
/// consumes no quota.
pub fn decide(visitor: &Visitor, scanned: Scanned, told: Vec<Option<Told>>) -> Result<Cleared, Refusal> {
    let Scanned { prompt, mut found, questions } = scanned;
    let answers = told.into_iter().chain(std::iter::repeat_with(|| None));
    for (question, told) in questions.iter().zip(answers) {
        match (told, question.service.on_failure) {
            (Some(told), _) => found.append(&mut told.into_found()),
            (None, OnFailure::Allow) => {}
            (None, OnFailure::Refuse) => return Err(Refusal::DetectorUnavailable),
        }
    }
    if found.len() > FINDINGS_MAX {
        return Err(Refusal::ScanLimit);
    }
    if !questions.is_empty() {
        found.sort_by_key(Found::order);
    }
    let judge = Judge::new(visitor, Direction::Input);
    let redacted = redact::plan(&judge, &prompt.body, &prompt.projection, &found);
    if let Some(place) = redacted.blocked {
        return Err(blocked(redacted.findings, place));
    }
    let mut redacted = redacted;
    if let Some(place) = scan_betas(&judge, &prompt.head.betas, &mut redacted.findings) {
        return Err(blocked(redacted.findings, place));
    }
    match visitor.tenant().chains.gate(visitor) {
        Gate::Blocked(reason) => {
            return Err(Refusal::ContentBlocked(Box::new(Blocked {
                findings: redacted.findings,
                place: String::new(),
                rules: vec![reason.rule.to_string()],
                message: reason.message,
            })));
        }
        Gate::Silent if visitor.tenant().default_action == crate::documents::DefaultAction::Deny => {
            return Err(Refusal::NotPermitted);
        }
        Gate::Silent | Gate::Allowed => {}
    }
    let sticky_by = visitor.tenant().routes.sticky_by();
    let affinities = sticky_by.iter().map(|by| (*by, routing::affinity::of(&prompt, *by))).collect();
    let (edits, findings) = (redacted.edits, redacted.findings);
    let originals = Arc::new(redacted.taken.into_originals());
    let would_block = visitor.tenant().chains.would_block(visitor);
    Ok(Cleared { body: prompt.body, head: prompt.head, edits, findings, originals, affinities, would_block })
}

/// Names of unfinished features travel on in the request's head, where nothing can be replaced.
fn scan_betas(judge: &Judge<'_>, betas: &[String], findings: &mut Vec<Finding>) -> Option<String> {
    let place = "anthropic-beta";
    let mut is_blocked = false;
    for beta in betas {
        for mut found in judge.detection().scan(beta.as_bytes()) {
            let value = found.value(beta.as_bytes()).to_vec();
            if judge.weigh(&mut found, &value) {
                let judgement = judge.judge(&found, &value);
                is_blocked |= judgement.action != Action::Pass;
                findings.extend(judge.remember(&found, judgement, &value, place.to_owned()));
            }
        }
    }
    is_blocked.then(|| place.to_owned())
}

fn blocked(findings: Vec<Finding>, place: String) -> Refusal {
    let by = || findings.iter().filter(|finding| finding.action != Action::Pass);
    let mut rules: Vec<String> = by().map(|finding| finding.detector.id.to_string()).collect();
    rules.sort_unstable();
    rules.dedup();
    let strict = by().find(|finding| finding.action == Action::Block);
    let message =
        strict.and_then(|finding| finding.reasons.first()).and_then(|reason| reason.message.clone());
    Refusal::ContentBlocked(Box::new(Blocked { findings, place, rules, message }))
}

impl Cleared {
    /// What was asked for, besides text.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What was taken out to be put back into the answer.
    pub(crate) fn originals(&self) -> &Arc<Originals> {
        &self.originals
    }

    /// The monitored rule that would have refused it, whatever it holds.
    pub fn would_block(&self) -> Option<&Reason> {
        self.would_block.as_ref()
    }

    /// What this prompt has in common with others that should meet the same target.
    pub(crate) fn affinity(&self, by: StickyBy) -> Option<u64> {
        self.affinities.iter().find(|(known, _)| *known == by).and_then(|(_, affinity)| *affinity)
    }

    /// The names of the tools that it brings.
    pub(crate) fn tools(&self) -> impl Iterator<Item = String> {
        let raw = self.head.tools.iter().map(|raw| self.body.get(raw.clone()).unwrap_or_default());
        raw.map(crate::prompt::string)
    }

    /// Whether anything is replaced.
    pub fn is_redacted(&self) -> bool {
        !self.edits.is_empty()
    }

    /// The size of what the caller sent.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// What this target is sent: the caller's bytes, but for redactions, the model's name where the target calls it
    /// otherwise, the usage that we ask for, and the output limit under a budget. An uncleared prompt has no such
    /// method:
    ///
    /// ```compile_fail
    /// fn send(prompt: palisade_filters::Prompt, target: &palisade_filters::AuthorisedTarget) {
    ///     let _ = prompt.for_target(target);
    /// }
    /// ```
    ///
    /// nor can one be made without being scanned:
    ///
    /// ```compile_fail
    /// fn forge(body: bytes::Bytes) -> palisade_filters::Cleared {
    ///     palisade_filters::Cleared { body, ..todo!() }
    /// }
    /// ```
    ///
    /// and a target that was not authorised cannot be tried:
    ///
    /// ```compile_fail
    /// fn smuggle(cleared: palisade_filters::Cleared, provider: std::sync::Arc<palisade_filters::policy::Provider>) {
    ///     let target = palisade_filters::AuthorisedTarget { provider, model: String::new(), output_limit: None };
    ///     let _ = cleared.for_target(&target);
    /// }
    /// ```
    pub fn for_target(&self, target: &AuthorisedTarget) -> Bytes {
        let mut edits = self.edits.clone();
        if target.model() != self.head.model {
            let mut name = vec![b'"'];
            crate::json::escape(target.model(), &mut name);
            name.push(b'"');
            edits.push(Edit { raw: self.head.model_raw.clone(), with: Cow::Owned(name) });
        }
        edits.extend(self.head.ask_for_usage());
        if let Some(limit) = target.output_limit() {
            edits.extend(self.head.limit_output(limit));
        }
        if edits.is_empty() { self.body.clone() } else { Bytes::from(splice::splice(&self.body, edits)) }
    }
}
