//! The error table, row by row: status is behaviour, and SDKs act on it. A change of it is a change for users.

use crate::process::workspace;
use palisade_filters::dlp::projection::Unreadable;
use palisade_filters::quota::{CounterId, Limit, LimitHit, Unit, Window};
use palisade_filters::refusal::Blocked;
use palisade_filters::routing::Disabled;
use palisade_filters::{Dialect, Refusal};

fn hit(unit: Unit, window: Window, retry_after_ms: Option<u64>) -> LimitHit {
    let counter = CounterId { organisation: 1, counter: 1 };
    let model = (unit == Unit::Dollars).then(|| "gpt-*".into());
    let (hard, soft) = (Some(3_500_000_000), None);
    let hard = if unit == Unit::Dollars { hard } else { Some(3) };
    let limit = Limit { counter, subject: "key k".into(), model, unit, window, hard, soft };
    LimitHit { limit, left: 0, retry_after_ms, resets_ms: 1_893_456_000_000 }
}

/// One of each. A variant that is missing here does not compile in [`name`].
fn every_refusal() -> Vec<Refusal> {
    let blocked = |message: Option<&str>| {
        Refusal::ContentBlocked(Box::new(Blocked {
            findings: Vec::new(),
            place: "messages[2].content".to_owned(),
            rules: vec!["payment.card_number".to_owned()],
            message: message.map(str::to_owned),
        }))
    };
    vec![
        Refusal::InvalidApiKey,
        Refusal::IpNotAllowed,
        Refusal::AddressUnknown,
        Refusal::AddressUnreadable("x-forwarded-for"),
        Refusal::CertificateRequired,
        Refusal::TooManyBadKeys(1_000),
        Refusal::CountryNotAllowed,
        Refusal::NetworkNotAllowed,
        Refusal::CredentialCompromised,
        Refusal::UnsupportedEndpoint,
        Refusal::UpgradeRequired,
        Refusal::HeaderTooLarge,
        Refusal::BodyTooLarge(1_024),
        Refusal::ReadTimeout,
        Refusal::UnsupportedEncoding,
        Refusal::InvalidEncoding,
        Refusal::EncodingRatio(100),
        Refusal::UnsupportedMediaType,
        Refusal::Overloaded,
        Refusal::Unreadable(Unreadable::Utf8(7)),
        Refusal::InvalidRequest { param: Some("model"), message: "`model` is missing".to_owned() },
        Refusal::CapabilityNotAllowed { param: "store", capability: "store" },
        blocked(None),
        blocked(Some("cards belong into the vault")),
        Refusal::ScanLimit,
        Refusal::NotPermitted,
        Refusal::ModelNotFound("gpt-9".to_owned()),
        Refusal::DialectNotServed { model: "gpt-9".to_owned(), dialect: Dialect::Anthropic },
        Refusal::DialectNotServed { model: "claude-9".to_owned(), dialect: Dialect::OpenAi },
        Refusal::ToolNotAllowed("search".to_owned()),
        Refusal::ModelDisabled(Box::new(Disabled { model: "gpt-9".to_owned(), switched_off: Vec::new() })),
        Refusal::ConcurrencyReached(Box::new(hit(Unit::Requests, Window::AtOnce, Some(1_000)))),
        Refusal::RateLimited(Box::new(hit(Unit::Requests, Window::Minute, Some(1_000)))),
        Refusal::RateLimited(Box::new(hit(Unit::Tokens, Window::Minute, None))),
        Refusal::QuotaSpent(Box::new(hit(Unit::Requests, Window::Day, Some(1_000)))),
        Refusal::QuotaSpent(Box::new(hit(Unit::Dollars, Window::Month, Some(1_000)))),
        Refusal::QuotaSpent(Box::new(hit(Unit::Tokens, Window::Day, None))),
        Refusal::ModelUnpriced("gpt-9".to_owned()),
        Refusal::QuotaUnavailable,
        Refusal::PolicyUnavailable,
        Refusal::AuditUnavailable,
        Refusal::DetectorUnavailable,
    ]
}

/// The variant's name, by a match that knows them all.
fn name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidApiKey => "InvalidApiKey",
        Refusal::IpNotAllowed => "IpNotAllowed",
        Refusal::AddressUnknown => "AddressUnknown",
        Refusal::AddressUnreadable(_) => "AddressUnreadable",
        Refusal::CertificateRequired => "CertificateRequired",
        Refusal::TooManyBadKeys(_) => "TooManyBadKeys",
        Refusal::CountryNotAllowed => "CountryNotAllowed",
        Refusal::NetworkNotAllowed => "NetworkNotAllowed",
        Refusal::CredentialCompromised => "CredentialCompromised",
        Refusal::UnsupportedEndpoint => "UnsupportedEndpoint",
        Refusal::UpgradeRequired => "UpgradeRequired",
        Refusal::HeaderTooLarge => "HeaderTooLarge",
        Refusal::BodyTooLarge(_) => "BodyTooLarge",
        Refusal::ReadTimeout => "ReadTimeout",
        Refusal::UnsupportedEncoding => "UnsupportedEncoding",
        Refusal::InvalidEncoding => "InvalidEncoding",
        Refusal::EncodingRatio(_) => "EncodingRatio",
        Refusal::UnsupportedMediaType => "UnsupportedMediaType",
        Refusal::Overloaded => "Overloaded",
        Refusal::Unreadable(_) => "Unreadable",
        Refusal::InvalidRequest { .. } => "InvalidRequest",
        Refusal::CapabilityNotAllowed { .. } => "CapabilityNotAllowed",
        Refusal::ContentBlocked(_) => "ContentBlocked",
        Refusal::ScanLimit => "ScanLimit",
        Refusal::NotPermitted => "NotPermitted",
        Refusal::ModelNotFound(_) => "ModelNotFound",
        Refusal::DialectNotServed { .. } => "DialectNotServed",
        Refusal::ToolNotAllowed(_) => "ToolNotAllowed",
        Refusal::ModelDisabled(_) => "ModelDisabled",
        Refusal::ConcurrencyReached(_) => "ConcurrencyReached",
        Refusal::RateLimited(_) => "RateLimited",
        Refusal::QuotaSpent(_) => "QuotaSpent",
        Refusal::ModelUnpriced(_) => "ModelUnpriced",
        Refusal::QuotaUnavailable => "QuotaUnavailable",
        Refusal::PolicyUnavailable => "PolicyUnavailable",
        Refusal::AuditUnavailable => "AuditUnavailable",
        Refusal::DetectorUnavailable => "DetectorUnavailable",
    }
}

#[test]
fn the_error_table_is_the_one_that_is_documented() {
    let mut table = String::new();
    for refusal in every_refusal() {
        let row = refusal.row();
        let retry = row.should_retry.map_or("-".to_owned(), |should| should.to_string());
        table += &format!(
            "{:<21} {:<12} {} {:<21} {:<21} {:<26} retry {:<5} param {:<19} | {}\n",
            name(&refusal),
            row.stage.name(),
            row.status,
            Dialect::OpenAi.error_type(row),
            Dialect::Anthropic.error_type(row),
            row.code,
            retry,
            refusal.param().unwrap_or("-"),
            refusal.message()
        );
    }
    let path = workspace().join("tests/snapshots/errors.txt");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == table, "{} is no longer true; if that is meant, it reads:\n{table}", path.display());
}

#[test]
fn messages_are_lower_case_without_a_full_stop_and_say_what_to_do() {
    for refusal in every_refusal() {
        let message = refusal.message();
        let first = message.chars().next().unwrap();
        assert!(first.is_lowercase() || first == '`', "{message}");
        assert!(!message.ends_with('.'), "{message}");
    }
}
