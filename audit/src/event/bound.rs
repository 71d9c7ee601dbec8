//! How large can an event become? No larger than these limits, whatever the caller sent.
//!
//! Needs: an event as the proxy built it. Proves: its frame fits `FRAME_BYTES_MAX`, so one request can
//! neither fill the queue's memory nor be refused by the spool; what was cut is counted in [`Omitted`]. Does
//! not: judge what is cut: the first entries stay, so the proxy lists what weighs most first.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Event, Omitted};

/// Bytes of any one text. Ids on the wire are at most 128 characters, and a SHA-256 in hex is 64.
pub const TEXT_BYTES_MAX: usize = 128;
/// Findings named one by one. A request may have 10 000; a reader of the event wants the first and the
/// number.
pub const FINDINGS_MAX: usize = 100;
/// Reasons named one by one: three chains rarely match more than a dozen rules.
pub const REASONS_MAX: usize = 64;
/// Services that failed, named one by one: a platform has few.
pub(super) const DETECTORS_MAX: usize = 16;
/// Attempts named one by one: retries are capped well below.
pub const ATTEMPTS_MAX: usize = 16;
/// Groups of the caller.
pub const GROUPS_MAX: usize = 64;
/// Stages with a latency; the request path has fewer than twenty.
pub const STAGES_MAX: usize = 32;

impl Event {
    /// Cuts texts and lists to their limits and counts in `omitted` what was cut from the lists.
    pub fn bound(&mut self) {
        self.bound_texts();
        self.omitted = Omitted {
            findings: self.omitted.findings.saturating_add(cut(&mut self.findings, FINDINGS_MAX)),
            detector_failures: (self.omitted.detector_failures)
                .saturating_add(cut(&mut self.detector_failures, DETECTORS_MAX)),
            reasons: self.omitted.reasons.saturating_add(cut(&mut self.reasons, REASONS_MAX)),
            attempts: self.omitted.attempts.saturating_add(cut(&mut self.route, ATTEMPTS_MAX)),
            passed_over: self.omitted.passed_over.saturating_add(cut(&mut self.passed_over, ATTEMPTS_MAX)),
            groups: self.omitted.groups.saturating_add(cut(&mut self.groups, GROUPS_MAX)),
            stages: self.omitted.stages.saturating_add(cut(&mut self.stages.0, STAGES_MAX)),
        };
        self.geo.anonymous.truncate(super::DISGUISES_MAX);
        for finding in &mut self.findings {
            let named = [&mut finding.rule, &mut finding.entity, &mut finding.category];
            named.into_iter().for_each(clip_shared);
            clip_word(&mut finding.place);
            finding.hash.iter_mut().for_each(clip_string);
        }
        for failure in &mut self.detector_failures {
            clip_shared(&mut failure.detector);
            clip_word(&mut failure.why);
        }
        for reason in &mut self.reasons {
            clip_shared(&mut reason.rule);
            [&mut reason.pack, &mut reason.finding_rule].into_iter().flatten().for_each(clip_shared);
        }
        for attempt in &mut self.route {
            [&mut attempt.target, &mut attempt.provider, &mut attempt.model]
                .into_iter()
                .for_each(clip_shared);
        }
        for passed in &mut self.passed_over {
            [&mut passed.provider, &mut passed.model].into_iter().for_each(clip_shared);
            passed.reason.iter_mut().for_each(clip_shared);
        }
        self.groups.iter_mut().for_each(clip_shared);
        self.stages.0.iter_mut().for_each(|(stage, _)| clip_word(stage));
    }

    fn bound_texts(&mut self) {
        let named = [&mut self.organisation, &mut self.key_id, &mut self.model_served, &mut self.provider];
        named.into_iter().flatten().for_each(clip_shared);
        self.route_name.iter_mut().for_each(clip_shared);
        [&mut self.policy.platform, &mut self.policy.organisation].into_iter().for_each(clip_shared);
        [&mut self.client_request_id, &mut self.model_asked].into_iter().flatten().for_each(clip_string);
        [&mut self.dialect, &mut self.endpoint, &mut self.method].into_iter().for_each(clip_word);
        if let Some(certificate) = &mut self.client_certificate {
            [&mut certificate.subject, &mut certificate.fingerprint].into_iter().for_each(clip_shared);
        }
        if let Some(jwt) = &mut self.jwt {
            [&mut jwt.issuer, &mut jwt.subject].into_iter().chain(&mut jwt.id).for_each(clip_shared);
        }
        if let Some(refusal) = &mut self.refusal {
            clip_word(&mut refusal.stage);
            clip_word(&mut refusal.code);
        }
        if let super::Source::Outpost(id) = &mut self.source {
            clip_shared(id);
        }
    }
}

/// Shortens a list and returns how many entries went.
fn cut<T>(list: &mut Vec<T>, max: usize) -> u32 {
    let gone = list.len().saturating_sub(max);
    list.truncate(max);
    u32::try_from(gone).unwrap_or(u32::MAX)
}

fn clip_string(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
}

fn clip_shared(text: &mut Arc<str>) {
    if let Some(short) = shortened(text) {
        *text = Arc::from(short);
    }
}

fn clip_word(text: &mut Cow<'static, str>) {
    if let Some(short) = shortened(text) {
        *text = Cow::Owned(short.to_owned());
    }
}

/// The longest prefix within the limit, if the text is over it.
fn shortened(text: &str) -> Option<&str> {
    if text.len() <= TEXT_BYTES_MAX {
        return None;
    }
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX))
}
