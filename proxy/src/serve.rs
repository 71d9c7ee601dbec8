//! The way of one request, on one screen. Each step needs the evidence of the one before it; the core decides, this
//! side reads, asks and sends.

use crate::arrival::{self, Endpoint};
use crate::body;
use crate::detectors;
use crate::edge::Connection;
use crate::fault::{Fault, Stop};
use crate::house::{House, now_ms};
use crate::meter::Passage;
use crate::record::Record;
use crate::relay;
use crate::reply;
use crate::upstream::Upstreams;
use bytes::Bytes;
use palisade_filters::quota::MeterRefusal;
use palisade_filters::{self as filters, Cleared, Refusal, Scanned, Stage, Surface, Visitor, model_access};
use pingora_core::protocols::http::ServerSession;
use std::sync::Arc;

/// Larger bodies are scanned on a thread of their own: one long scan must not hold up a worker's other connections.
pub(crate) const SCANNED_IN_PLACE_BYTES: usize = 256 * 1024;

/// Serves one request.
pub(crate) async fn serve(
    house: &Arc<House>,
    upstreams: &Upstreams,
    down: &mut ServerSession,
    from: &Connection,
    record: &mut Record,
) -> Result<(), Stop> {
    let arrival = arrival::read(down, house, from)?; // what is asked, and where?
    record.arrived(&arrival, from);
    record.lap(Stage::Arrival);

    let policy = house.policy()?; // loaded once: it judges this request to its end
    let knock = arrival.knock(now_ms());
    let wrong = |refusal| {
        house.issuers.missed(&policy, &knock);
        house.edge.refuse_key(refusal, &knock, house.limits().bad_keys_per_minute)
    };
    let caller = filters::identify(&policy, &house.issuers.trust(), &knock).map_err(wrong)?; // whose key is this?
    record.recognized(&caller);
    record.lap(Stage::Tenant);
    let location = knock.address.map(|address| house.geo.find(address)).unwrap_or_default(); // where is that?
    record.located(&location);
    record.lap(Stage::GeoIp);
    let located = filters::locate(caller, &knock, location)?; // may it come from there?
    record.lap(Stage::IpAllowlist);
    let known = house.intelligence.load(); // which keys are burned?
    let visitor = filters::recognize(located, &knock, &known)?; // and with this key?
    house.remembers(visitor.tenant())?; // can what it does be recorded, if it must be?
    record.lap(Stage::CredInt);

    let passage = house.meters.enter(&filters::gate(&visitor)).await; // how often, and how many at once?
    let passage = passage.map_err(MeterRefusal::into_refusal)?; // one of them, until its answer is known
    let version = arrival.version()?; // in words that are understood?
    let surface = match arrival.endpoint {
        Endpoint::Prompt(surface) => surface,
        Endpoint::Models => {
            return list(down, record, passage, model_access::list(&visitor, arrival.dialect)).await;
        }
        Endpoint::Model(ref name) => {
            return show(down, record, passage, model_access::find(&visitor, name, arrival.dialect)?).await;
        }
    };

    let coding = arrival.body_kind()?;
    let body = body::read(down, house, &visitor.tenant().id, coding).await?; // all of it, within its limits
    record.lap(Stage::Prompt);
    let asked = (surface, version, arrival.betas()?, body.bytes.clone());
    let cleared = clear(house, upstreams, &visitor, asked, record).await?; // what may leave of it?
    record.cleared(&cleared);
    record.lap(Stage::Dlp);

    let application = filters::apply(&visitor, &cleared)?; // may it use this model, and who serves it?
    record.lap(Stage::ModelAccess);
    let answer = house.meters.reserve(application.ask()).await; // is there budget left?
    let outlook = house.health.outlook(application.candidates()); // and how are they doing?
    let admission = filters::admit(application, answer, &outlook)?;
    record.lap(Stage::Quota);
    record.overhead();

    relay::relay(house, upstreams, down, &visitor, &cleared, admission, passage, record).await
}

/// Reads and scans a prompt, asks what services say of it, and judges.
async fn clear(
    house: &Arc<House>,
    upstreams: &Upstreams,
    visitor: &Visitor,
    (surface, version, betas, body): (Surface, Option<&'static str>, Vec<String>, Bytes),
    record: &mut Record,
) -> Result<Cleared, Stop> {
    let bytes = body.len();
    let (of_house, of_visitor) = (house.clone(), visitor.clone());
    let scan = move || -> Result<(String, Result<Scanned, Refusal>), Refusal> {
        let prompt = filters::read(&of_visitor, surface, body)?.with_version(version, betas);
        let model = prompt.head().model.clone();
        Ok((model, filters::scan(&of_visitor, &of_house.memory, prompt)))
    };
    let (model, scanned) = in_its_place(bytes, scan).await?.inspect_err(|_| record.asked("", bytes))?;
    record.asked(&model, bytes);
    let scanned = scanned?;
    let told = detectors::ask(house, upstreams, scanned.questions(), record).await;
    let of_visitor = visitor.clone();
    let decide = move || filters::decide(&of_visitor, scanned, told);
    Ok(in_its_place(bytes, decide).await??)
}

/// Does the work on a body here, or on a thread of its own if the body is large.
async fn in_its_place<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    if bytes <= SCANNED_IN_PLACE_BYTES {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::Internal(format!("a scan ended early: {error}")))
}

async fn list(
    down: &mut ServerSession,
    record: &mut Record,
    passage: Passage,
    models: Vec<model_access::ListedModel>,
) -> Result<(), Stop> {
    drop(passage);
    record.allowed();
    reply::models(down, record, &models).await?;
    record.completed();
    Ok(())
}

async fn show(
    down: &mut ServerSession,
    record: &mut Record,
    passage: Passage,
    model: model_access::ListedModel,
) -> Result<(), Stop> {
    drop(passage);
    record.allowed();
    reply::model(down, record, &model).await?;
    record.completed();
    Ok(())
}
