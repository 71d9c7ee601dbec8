//! Which services may prompts be asked of, and which does an organisation have them asked of?

use super::Provider;
use crate::dialect::Dialect;
use crate::dlp::Detection;
use crate::dlp::service::{Endpoint, Service};
use crate::documents::{DetectorDocument, DetectorUseDocument, HttpVersion, ProviderDocument};
use std::sync::Arc;

/// The services that an organisation uses.
type Services = Arc<[Arc<Service>]>;

/// The services of the platform. A service is connected to as a provider is: `compile` is who compiles those.
pub(super) fn endpoints(
    documents: &[DetectorDocument],
    compile: impl Fn(&ProviderDocument) -> Result<Provider, String>,
) -> Result<Vec<Arc<Endpoint>>, String> {
    let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
    for document in documents {
        let wrong = |problem: String| format!("detector `{}`: {problem}", document.name);
        if endpoints.iter().any(|other| other.document.name == document.name) {
            return Err(format!("two detectors are named `{}`; names are unique", document.name));
        }
        let provider =
            compile(&as_provider(document)).map_err(|problem| wrong(problem.replace("base_url", "url")))?;
        endpoints.push(Arc::new(Endpoint::compile(document, provider).map_err(wrong)?));
    }
    Ok(endpoints)
}

fn as_provider(document: &DetectorDocument) -> ProviderDocument {
    ProviderDocument {
        // No provider's name: the pool keeps their connections apart.
        name: format!("detector {}", document.name),
        base_url: document.url.clone(),
        dialect: Dialect::default(),
        api_key: None,
        models: vec!["*".to_owned()],
        allow_private_addresses: document.allow_private_addresses,
        http: HttpVersion::default(),
        connect_timeout: document.timeout,
        first_byte_timeout: document.timeout,
        idle_timeout: document.timeout,
        total_timeout: document.timeout,
        output_tokens_default: None,
        breaker: document.breaker.clone(),
    }
}

/// The services that an organisation uses, and what is detected with what they find.
pub(super) fn of_organisation(
    documents: &[DetectorUseDocument],
    endpoints: &[Arc<Endpoint>],
    detection: Detection,
) -> Result<(Services, Detection), String> {
    let mut services: Vec<Arc<Service>> = Vec::new();
    let mut all = Vec::new();
    let first = detection.first_of_services();
    for document in documents {
        let wrong = |problem: String| format!("`dlp.detectors`, `{}`: {problem}", document.name);
        if services.iter().any(|other| other.endpoint.document.name == document.name) {
            return Err(wrong("it is named twice; name all its entities at once".to_owned()));
        }
        let compiled = Service::compile(document, endpoints, &detection, first + all.len());
        let (service, mut detectors) = compiled.map_err(wrong)?;
        services.push(Arc::new(service));
        all.append(&mut detectors);
    }
    Ok((services.into(), detection.with_services(all)))
}
