//! It could not be done: everything that fails and is not a refusal.

use palisade_filters::answer::AnswerFault;
use palisade_filters::refusal::{ErrorRow, ErrorType};
use palisade_filters::{Refusal, Stage};

/// What failed, and on which side.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The client is gone or does not read; there is nobody to answer.
    ClientLeft,
    /// The credential or its organisation was revoked while the exchange went on.
    Revoked,
    /// The process is being stopped, and the time for what was under way is over.
    Stopping,
    /// No target gave an answer.
    Unavailable {
        /// The soonest that a provider said to come again, in seconds.
        retry_after: Option<u32>,
    },
    /// No target gave an answer in time.
    Timeout,
    /// An answer broke off, or could not be read, when part of it had been passed on.
    Broken(Option<AnswerFault>),
    /// Our own doing.
    Internal(String),
}

/// Why an exchange ended without its answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// We said no.
    Refused(Refusal),
    /// It could not be done.
    Failed(Fault),
}

impl Stop {
    /// Causes are for the operator, under the id that the caller was given.
    pub(crate) fn log(&self, request_id: &str) {
        match self {
            Self::Failed(Fault::Internal(cause)) => tracing::error!(request_id, cause, "the proxy failed"),
            Self::Failed(Fault::Broken(Some(cause))) => {
                tracing::warn!(request_id, %cause, "an answer broke off");
            }
            Self::Failed(
                Fault::Broken(None)
                | Fault::ClientLeft
                | Fault::Revoked
                | Fault::Stopping
                | Fault::Unavailable { .. }
                | Fault::Timeout,
            )
            | Self::Refused(_) => {}
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Fault {
    /// Its row of the error table. Of a client that left, only the event tells.
    pub(crate) fn row(&self) -> ErrorRow {
        let (status, code) = match self {
            Self::ClientLeft => (499, "client_left"),
            Self::Revoked => (401, "invalid_api_key"),
            Self::Stopping => (503, "stopping"),
            Self::Unavailable { .. } | Self::Broken(_) => (502, "upstream_unavailable"),
            Self::Timeout => (504, "upstream_timeout"),
            Self::Internal(_) => (500, "internal_error"),
        };
        let kind = if status == 401 { ErrorType::InvalidRequest } else { ErrorType::Server };
        ErrorRow { stage: Stage::Relay, status, kind, code, should_retry: None }
    }

    /// What the caller reads. Causes stay in the log.
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::ClientLeft => "the client left",
            Self::Revoked => "the API key is no longer valid",
            Self::Stopping => "the proxy is being stopped; send the request again",
            Self::Unavailable { .. } => "no provider of this model could answer; try again shortly",
            Self::Timeout => "no provider of this model answered in time; try again shortly",
            Self::Broken(_) => "the provider's answer broke off; try again",
            Self::Internal(_) => "the proxy failed; the request id names the case in its log",
        }
    }
}
