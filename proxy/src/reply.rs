//! What does the client read? The only place that writes errors, and the answers that are our own.

use crate::coding::CODINGS;
use crate::fault::{Fault, Stop};
use crate::house::now_ms;
use crate::record::Record;
use bytes::Bytes;
use palisade_filters::answer::failure::Failure;
use palisade_filters::dialect::{Dialect, ErrorText};
use palisade_filters::model_access::ListedModel;
use palisade_filters::quota::{Limit, Receipt, Unit, Window};
use palisade_filters::refusal::ErrorRow;
use palisade_filters::{Finding, Refusal};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rules that the findings header names.
const FINDINGS_LISTED_MAX: usize = 50;
/// Soft limits that the warning header names.
const WARNINGS_LISTED_MAX: usize = 5;
/// What each of them may take there: a group's name can be as long as somebody likes.
const WARNING_CHARACTERS_MAX: usize = 200;

/// A head with what every answer carries.
pub(crate) fn head(record: &Record, status: u16) -> Result<ResponseHeader, Fault> {
    let mut head = ResponseHeader::build(status, Some(12)).map_err(internal)?;
    insert(&mut head, "x-request-id", record.id())?;
    let own_header = record.dialect().request_id_header();
    if own_header != "x-request-id" {
        insert(&mut head, own_header, record.id())?;
    }
    if let Some(id) = record.client_request_id() {
        insert(&mut head, "x-client-request-id", id.to_owned())?;
    }
    Ok(head)
}

/// Whether an answer has begun. A `100 Continue` is none.
pub(crate) fn has_begun(down: &ServerSession) -> bool {
    down.response_written().is_some_and(|head| !head.status.is_informational())
}

/// Sends a head. While the process is being stopped it says that the connection ends with this answer, so that the
/// client's next request goes elsewhere.
pub(crate) async fn write_head(
    down: &mut ServerSession,
    record: &Record,
    head: ResponseHeader,
) -> Result<(), Fault> {
    if record.is_last() {
        down.set_keepalive(None);
    }
    down.write_response_header(Box::new(head)).await.map_err(|_| Fault::ClientLeft)
}

/// Adds a header.
pub(crate) fn insert(head: &mut ResponseHeader, name: &'static str, value: String) -> Result<(), Fault> {
    head.insert_header(name, value).map_err(internal)
}

/// The `x-ratelimit-*` headers: for each unit, the limit that is nearest; and which soft limits are passed.
pub(crate) fn insert_rate_limits(head: &mut ResponseHeader, receipts: &[Receipt]) -> Result<(), Fault> {
    for (at, unit) in Unit::ALL.into_iter().enumerate() {
        let of_unit = receipts.iter().filter_map(|receipt| {
            let nearest = receipt.nearest.get(at).copied().flatten()?;
            Some((receipt.ask.limit(nearest.at)?, nearest))
        });
        if let Some((limit, nearest)) = of_unit.min_by_key(|(_, nearest)| nearest.left) {
            insert_limit(head, unit, limit.hard.unwrap_or(0), nearest.left, nearest.reset_ms)?;
        }
    }
    insert_warnings(head, receipts)
}

/// The `x-palisade-quota-warning` header: the first soft limits that are passed, and how many more there are.
fn insert_warnings(head: &mut ResponseHeader, receipts: &[Receipt]) -> Result<(), Fault> {
    // Names of groups and users are somebody's text, and a header holds less than a document does.
    let plain = |one: char| if one == ' ' || one.is_ascii_graphic() { one } else { '?' };
    let said = |limit: &Limit| limit.warning().chars().take(WARNING_CHARACTERS_MAX).map(plain).collect();
    let mut passed = receipts.iter().flat_map(Receipt::warnings);
    let mut listed: Vec<String> = passed.by_ref().take(WARNINGS_LISTED_MAX).map(said).collect();
    let more = passed.count();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    if listed.is_empty() { Ok(()) } else { insert(head, "x-palisade-quota-warning", listed.join(", ")) }
}

fn insert_limit(
    head: &mut ResponseHeader,
    unit: Unit,
    most: u64,
    left: u64,
    reset_ms: u64,
) -> Result<(), Fault> {
    let [most_name, left_name, reset_name] = match unit {
        Unit::Requests => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        Unit::Tokens => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        Unit::Dollars => {
            ["x-ratelimit-limit-dollars", "x-ratelimit-remaining-dollars", "x-ratelimit-reset-dollars"]
        }
    };
    insert(head, most_name, unit.amount(most))?;
    insert(head, left_name, unit.amount(left))?;
    insert(head, reset_name, format!("{}s", reset_ms.div_ceil(1_000)))
}

/// The `x-palisade-findings` header: rules and how often each found something, never what.
pub(crate) fn insert_findings(head: &mut ResponseHeader, findings: &[Finding]) -> Result<(), Fault> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(&finding.detector.id).or_default() += 1;
    }
    let listed: Vec<String> =
        counts.iter().take(FINDINGS_LISTED_MAX).map(|(rule, n)| format!("{rule};{n}")).collect();
    if listed.is_empty() { Ok(()) } else { insert(head, "x-palisade-findings", listed.join(", ")) }
}

/// Writes why an exchange ended, if anyone is there to read it.
pub(crate) async fn stop(down: &mut ServerSession, record: &mut Record, stop: &Stop) -> Result<(), Fault> {
    match stop {
        Stop::Failed(Fault::ClientLeft) => Err(Fault::ClientLeft),
        Stop::Failed(fault) if has_begun(down) => break_off(down, record, fault).await,
        Stop::Failed(fault) => {
            let mut head = head(record, fault.row().status)?;
            let after = match fault {
                Fault::Unavailable { retry_after } => *retry_after,
                Fault::Stopping => Some(1),
                Fault::ClientLeft
                | Fault::Revoked
                | Fault::Timeout
                | Fault::Broken(_)
                | Fault::Internal(_) => None,
            };
            if let Some(after) = after {
                insert(&mut head, "retry-after", after.to_string())?;
            }
            let body = error_body(record, fault.message(), fault.row(), None);
            write(down, record, head, &body).await
        }
        Stop::Refused(refusal) => {
            let row = refusal.row();
            let mut head = head(record, row.status)?;
            insert_retry(&mut head, refusal, row)?;
            let body = error_body(record, &refusal.message(), row, refusal.param());
            write(down, record, head, &body).await
        }
    }
}

/// A head that is none. There is no exchange to remember, and nobody knows whose API was meant; the connection ends.
pub(crate) async fn malformed_head(down: &mut ServerSession) {
    let text = ErrorText {
        message: "the request's head is not valid HTTP; send it with an HTTP library",
        kind: "invalid_request_error",
        code: Some("invalid_http"),
        param: None,
    };
    let id = Uuid::now_v7().to_string();
    let body = Bytes::from(Dialect::OpenAi.error_body(&text, &id).to_string());
    let Ok(mut head) = ResponseHeader::build(400, Some(3)) else { return };
    let filled = insert(&mut head, "content-type", "application/json".to_owned())
        .and_then(|()| insert(&mut head, "content-length", body.len().to_string()))
        .and_then(|()| insert(&mut head, "x-request-id", id));
    if filled.is_ok() {
        // The client may be gone already, and nothing can be done about it.
        let _ = down.write_error_response(head, body).await;
    }
}

/// Status is behaviour: what an SDK would do by itself is said or forbidden here.
fn insert_retry(head: &mut ResponseHeader, refusal: &Refusal, row: ErrorRow) -> Result<(), Fault> {
    if let Some(should) = row.should_retry {
        insert(head, "x-should-retry", should.to_string())?;
    }
    match refusal {
        Refusal::RateLimited(hit) => {
            if let Some(wait_ms) = hit.retry_after_ms {
                insert_wait(head, wait_ms)?;
            }
        }
        Refusal::TooManyBadKeys(wait_ms) => insert_wait(head, *wait_ms)?,
        // RFC 9110 §15.5.22: the answer names what is served.
        Refusal::UpgradeRequired => insert(head, "upgrade", "HTTP/2.0, HTTP/1.1".to_owned())?,
        // RFC 9110 §12.5.3: and what is read.
        Refusal::UnsupportedEncoding => insert(head, "accept-encoding", CODINGS.to_owned())?,
        Refusal::Overloaded
        | Refusal::PolicyUnavailable
        | Refusal::QuotaUnavailable
        | Refusal::AuditUnavailable
        | Refusal::DetectorUnavailable
        | Refusal::ConcurrencyReached(_) => insert(head, "retry-after", "1".to_owned())?,
        // A person switched it off and will switch it on: that takes longer than a client's retries.
        Refusal::ModelDisabled(_) => insert(head, "retry-after", "60".to_owned())?,
        Refusal::InvalidApiKey => insert(head, "www-authenticate", "Bearer".to_owned())?,
        Refusal::IpNotAllowed
        | Refusal::AddressUnknown
        | Refusal::AddressUnreadable(_)
        | Refusal::CertificateRequired
        | Refusal::CountryNotAllowed
        | Refusal::NetworkNotAllowed
        | Refusal::CredentialCompromised
        | Refusal::InvalidEncoding
        | Refusal::EncodingRatio(_)
        | Refusal::ToolNotAllowed(_)
        | Refusal::DialectNotServed { .. }
        | Refusal::UnsupportedEndpoint
        | Refusal::HeaderTooLarge
        | Refusal::BodyTooLarge(_)
        | Refusal::ReadTimeout
        | Refusal::UnsupportedMediaType
        | Refusal::Unreadable(_)
        | Refusal::InvalidRequest { .. }
        | Refusal::CapabilityNotAllowed { .. }
        | Refusal::ContentBlocked(_)
        | Refusal::ScanLimit
        | Refusal::NotPermitted
        | Refusal::ModelNotFound(_)
        | Refusal::ModelUnpriced(_)
        | Refusal::QuotaSpent(_) => {}
    }
    match refusal.limit_hit() {
        Some(hit) if hit.limit.window != Window::AtOnce => {
            let reset_ms = hit.resets_ms.saturating_sub(now_ms());
            insert_limit(head, hit.limit.unit, hit.limit.hard.unwrap_or(0), hit.left, reset_ms)
        }
        Some(_) | None => Ok(()),
    }
}

fn insert_wait(head: &mut ResponseHeader, wait_ms: u64) -> Result<(), Fault> {
    insert(head, "retry-after", wait_ms.div_ceil(1_000).to_string())?;
    insert(head, "retry-after-ms", wait_ms.to_string())
}

/// An upstream error about the caller's own request, rewritten.
pub(crate) async fn failure(
    down: &mut ServerSession,
    record: &mut Record,
    status: u16,
    failure: &Failure,
) -> Result<(), Fault> {
    let head = head(record, status)?;
    let message = failure.message.as_deref().unwrap_or("the provider refused the request");
    let kind = failure.kind.as_deref().unwrap_or(record.dialect().kind_of_status(status));
    let text = ErrorText { message, kind, code: failure.code.as_deref(), param: failure.param.as_deref() };
    let body = record.dialect().error_body(&text, &record.id());
    write(down, record, head, &body).await
}

/// The models that a caller may use.
pub(crate) async fn models(
    down: &mut ServerSession,
    record: &mut Record,
    models: &[ListedModel],
) -> Result<(), Fault> {
    let data: Vec<Value> = models.iter().map(|model| model_body(record.dialect(), model)).collect();
    let id = |model: Option<&ListedModel>| model.map(|model| model.id.clone());
    let body = match record.dialect() {
        Dialect::OpenAi => json!({"object": "list", "data": data}),
        // All of them are on the first page.
        Dialect::Anthropic => json!({
            "data": data, "has_more": false, "first_id": id(models.first()), "last_id": id(models.last()),
        }),
    };
    let head = head(record, 200)?;
    write(down, record, head, &body).await
}

/// One of them.
pub(crate) async fn model(
    down: &mut ServerSession,
    record: &mut Record,
    model: &ListedModel,
) -> Result<(), Fault> {
    let head = head(record, 200)?;
    let body = model_body(record.dialect(), model);
    write(down, record, head, &body).await
}

/// Nobody knows when a model was made: the epoch stands for that.
fn model_body(dialect: Dialect, model: &ListedModel) -> Value {
    match dialect {
        Dialect::OpenAi => {
            json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.owned_by})
        }
        Dialect::Anthropic => json!({
            "type": "model", "id": model.id, "display_name": model.id, "created_at": "1970-01-01T00:00:00Z",
        }),
    }
}

/// An error of our own, as the caller's SDK expects it.
fn error_body(record: &Record, message: &str, row: ErrorRow, param: Option<&str>) -> Value {
    let dialect = record.dialect();
    let text = ErrorText { message, kind: dialect.error_type(row), code: Some(row.code), param };
    dialect.error_body(&text, &record.id())
}

/// The last event of a stream whose upstream broke: an error, and nothing that looks like an end.
async fn break_off(down: &mut ServerSession, record: &Record, fault: &Fault) -> Result<(), Fault> {
    let is_stream = down.response_written().is_some_and(|head| !head.headers.contains_key("content-length"));
    if !is_stream {
        return Err(Fault::ClientLeft);
    }
    let body = error_body(record, fault.message(), fault.row(), None);
    let event = Bytes::from(match record.dialect() {
        Dialect::OpenAi => format!("data: {body}\n\n"),
        Dialect::Anthropic => format!("event: error\ndata: {body}\n\n"),
    });
    down.write_response_body(event, false).await.map_err(|_| Fault::ClientLeft)?;
    down.finish_body().await.map_err(|_| Fault::ClientLeft)
}

async fn write(
    down: &mut ServerSession,
    record: &mut Record,
    mut head: ResponseHeader,
    body: &Value,
) -> Result<(), Fault> {
    let body = Bytes::from(body.to_string());
    insert(&mut head, "content-type", "application/json".to_owned())?;
    insert(&mut head, "content-length", body.len().to_string())?;
    record.answered(head.status.as_u16(), false);
    record.sent(body.len());
    let is_head = down.req_header().method == http::Method::HEAD;
    write_head(down, record, head).await?;
    if is_head {
        return down.finish_body().await.map_err(|_| Fault::ClientLeft);
    }
    down.write_response_body(body, true).await.map_err(|_| Fault::ClientLeft)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn internal(error: Box<pingora_core::Error>) -> Fault {
    Fault::Internal(error.to_string())
}
