//! Is an event small, stable, bounded, and does it read back as itself?

use std::sync::Arc;

use proptest::prelude::*;

use super::bound::DETECTORS_MAX;
use super::*;

/// Bytes of an ordinary event: what a day of traffic costs in disk.
const PLAIN_BYTES_MAX: usize = 900;
/// Bytes of an ordinary refusal.
const REFUSED_BYTES_MAX: usize = 600;

/// An ordinary event: one key, one group, one target, answered and streamed, nothing found.
fn plain() -> Event {
    let mut stages = Stages::default();
    for (stage, us) in
        [("tenant", 2), ("body", 31), ("dlp", 44), ("policy", 3), ("routing", 2), ("relay", 812_345)]
    {
        stages.push(stage, us);
    }
    Event {
        organisation: Some("acme".into()),
        key_id: Some("k7f3q2m9".into()),
        groups: vec!["research".into()],
        client_address: Some("203.0.113.7".parse().unwrap()),
        dialect: "openai".into(),
        endpoint: "chat_completions".into(),
        method: "POST".into(),
        model_asked: Some("gpt-4o".to_owned()),
        model_served: Some("gpt-4o-2024-08-06".into()),
        provider: Some("openai".into()),
        route: vec![Attempt {
            target: "primary".into(),
            provider: "openai".into(),
            model: "gpt-4o".into(),
            outcome: Outcome::Answered { status: 200 },
            latency_us: 412_345,
        }],
        decision: Decision::Allow,
        policy: Revision {
            number: 42,
            platform: "9f86d081884c7d65".into(),
            organisation: "60303ae22b998861".into(),
        },
        tokens: Some(Tokens {
            prompt: 812,
            cached: 0,
            cache_write: 0,
            completion: 344,
            source: TokenSource::Provider,
        }),
        status: Some(200),
        body: Body { bytes_in: 4_211, bytes_out: 4_211 },
        answer: Some(Answer {
            streamed: true,
            events: 346,
            bytes_out: 61_234,
            first_byte_us: 413_001,
            ended: Some(Ended::Complete),
        }),
        duration_us: 812_500,
        stages,
        ..Event::new(
            Uuid::from_u128(0x0193_5b7e_0000_7000_8000_0000_0000_0001),
            Time::from_unix_ms(1_767_225_600_123),
        )
    }
}

fn failure(detector: &Arc<str>, why: &str) -> DetectorFailure {
    let why = Cow::Owned(why.to_owned());
    DetectorFailure { detector: detector.clone(), why, on_failure: OnFailure::Allow }
}

/// Every list over its limit, every text too long and made of what JSON writes with six bytes.
fn monstrous() -> Event {
    let text = "\u{1}".repeat(TEXT_BYTES_MAX * 3);
    let shared: Arc<str> = text.as_str().into();
    let word: Cow<'static, str> = text.clone().into();
    let finding = Finding {
        rule: shared.clone(),
        entity: shared.clone(),
        category: shared.clone(),
        direction: Direction::Output,
        place: word.clone(),
        length: u32::MAX,
        confidence: 0.123_456_79,
        repeated: false,
        would: None,
        suppressed: false,
        validated: true,
        compromised: None,
        action: Action::Override,
        mode: Some(word.clone()),
        hash: Some(text.clone()),
    };
    let reason = Reason {
        chain: Chain::Organisation,
        pack: Some(shared.clone()),
        rule: shared.clone(),
        sequence: u32::MAX,
        action: Action::RouteTo,
        monitored: true,
        finding_rule: Some(shared.clone()),
    };
    let attempt = Attempt {
        target: shared.clone(),
        provider: shared.clone(),
        model: shared.clone(),
        outcome: Outcome::RefusedStatus { status: u16::MAX },
        latency_us: u32::MAX,
    };
    let passed = PassedOver {
        provider: shared.clone(),
        model: shared.clone(),
        why: Passed::SwitchedOff,
        reason: Some(shared.clone()),
    };
    Event {
        source: Source::Outpost(shared.clone()),
        organisation: Some(shared.clone()),
        key_id: Some(shared.clone()),
        jwt: Some(Jwt { issuer: shared.clone(), subject: shared.clone(), id: Some(shared.clone()) }),
        channel: Channel::Interactive,
        groups: vec![shared.clone(); GROUPS_MAX * 2],
        client_request_id: Some(text.clone()),
        dialect: word.clone(),
        endpoint: word.clone(),
        method: word.clone(),
        model_asked: Some(text),
        model_served: Some(shared.clone()),
        provider: Some(shared.clone()),
        route_name: Some(shared.clone()),
        route: vec![attempt; ATTEMPTS_MAX * 2],
        passed_over: vec![passed; ATTEMPTS_MAX * 2],
        refusal: Some(Refusal { stage: word.clone(), code: word.clone() }),
        reasons: vec![reason; REASONS_MAX * 2],
        findings: vec![finding; 10_000],
        detector_failures: vec![failure(&shared, &word); DETECTORS_MAX * 2],
        policy: Revision { number: u64::MAX, platform: shared.clone(), organisation: shared },
        stages: Stages(vec![(word, u32::MAX); STAGES_MAX * 2]),
        ..plain()
    }
}

#[test]
fn a_plain_event_is_small_and_its_shape_is_schema_1() {
    let json = serde_json::to_string(&plain()).unwrap();
    assert!(json.len() <= PLAIN_BYTES_MAX, "{} bytes: {json}", json.len());
    assert_eq!(json, include_str!("plain.json").trim_end());
}

#[test]
fn a_refused_request_is_smaller_still() {
    let mut event = plain();
    event.refusal = Some(Refusal { stage: "model_access".into(), code: "model_not_found".into() });
    event.decision = Decision::Refuse;
    event.status = Some(404);
    event.body.bytes_out = 0;
    event.route.clear();
    event.stages.0.truncate(4);
    (event.model_served, event.provider, event.tokens, event.answer) = (None, None, None, None);
    let json = serde_json::to_string(&event).unwrap();
    assert!(json.len() <= REFUSED_BYTES_MAX, "{} bytes: {json}", json.len());
}

#[test]
fn an_event_nobody_filled_in_is_a_refusal() {
    let json = serde_json::to_value(Event::default()).unwrap();
    let expected = serde_json::json!({
        "schema": 1, "id": "00000000-0000-0000-0000-000000000000",
        "time": "1970-01-01T00:00:00.000Z", "decision": "refuse",
    });
    assert_eq!(json, expected);
}

#[test]
fn the_largest_event_fits_a_frame_and_says_what_was_cut() {
    let mut event = monstrous();
    event.bound();
    assert!(serde_json::to_vec(&event).unwrap().len() <= crate::spool::FRAME_BYTES_MAX);
    let cut = Omitted {
        findings: 9_900,
        detector_failures: 16,
        reasons: 64,
        attempts: 16,
        passed_over: 16,
        groups: 64,
        stages: 32,
    };
    assert_eq!(event.omitted, cut);
    let once = event.clone();
    event.bound();
    assert_eq!(event, once, "bounding twice cuts nothing more");
    assert_eq!(serde_json::from_slice::<Event>(&serde_json::to_vec(&once).unwrap()).unwrap(), once);
}

#[test]
fn an_ordinary_event_is_not_cut() {
    let mut event = plain();
    event.bound();
    assert_eq!(event, plain());
}

#[test]
fn an_outcome_names_the_status_only_where_there_was_one() {
    let attempt = |outcome| {
        let plain = plain().route.pop().unwrap();
        serde_json::to_string(&Attempt { outcome, ..plain }).unwrap()
    };
    let start = r#"{"target":"primary","provider":"openai","model":"gpt-4o","outcome":"#;
    for (outcome, end) in [
        (Outcome::RefusedStatus { status: 429 }, r#""refused_status","status":429,"latency_us":412345}"#),
        (Outcome::ConnectFailed, r#""connect_failed","latency_us":412345}"#),
    ] {
        assert_eq!(attempt(outcome), format!("{start}{end}"));
    }
}

proptest! {
    #[test]
    fn cutting_a_text_keeps_a_prefix(text in "\\PC{0,200}") {
        let mut event = Event { model_asked: Some(text.clone()), ..Event::default() };
        event.bound();
        let kept = event.model_asked.unwrap();
        prop_assert!(text.starts_with(&kept));
        prop_assert!(kept.len() <= TEXT_BYTES_MAX);
        prop_assert!(kept.len() == text.len() || kept.len() > TEXT_BYTES_MAX - 4);
    }
}
