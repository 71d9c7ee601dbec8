//! What does somebody see first? A store with a small organisation in it that works at once.
//!
//! Needs the API of a store that is open, what the demo can reach, and what it kept of former starts; gives a key and
//! an API token that work. Everything is done as an operator does it, by the same requests: the first invitation makes
//! an account, the platform's document is applied, the organisation's imported, its admin invited. At a later start the
//! demo's own providers are made to fit what there is to reach by then, with the routes that name them, and a key or a
//! token that works no more is made anew. Whatever else a person changed stays.

mod errand;
mod error;
mod kept;

pub use error::SeedError;
pub use kept::Kept;

use crate::access::Access;
use crate::api::Api;
use crate::resources::{Export, decompose_platform};
use crate::sources;
use crate::store::OrganisationId;
use errand::{Badge, Errand, Said};
use palisade_filters::secret::Secret;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// The organisation, and the name of its key and of its admin's token.
pub const DEMO: &str = "demo";
/// The group of the key: the one that may use every model.
const GROUP: &str = "developers";
/// How long the token serves; after that, a start makes another one.
const TOKEN_LIFETIME: &str = "90d";
/// Where the organisation's resources are.
const PLACE: &str = "/orgs/demo";
const UPSTREAM: &str = "upstream";
const OPENAI: &str = "openai";
const ANTHROPIC: &str = "anthropic";
/// The double as providers: each with what its base URL ends with.
const MOCKS: [(&str, &str); 2] = [("mock", "/v1"), ("mock-anthropic", "")];
/// Providers and routes that come and go with what there is to reach.
const OWN_PROVIDERS: [&str; 5] = [UPSTREAM, "mock", "mock-anthropic", OPENAI, ANTHROPIC];
const OWN_ROUTES: [&str; 3] = ["fallback", OPENAI, ANTHROPIC];

/// What the demo can reach.
#[derive(Clone, Debug, Default)]
pub struct DemoProviders {
    /// Where the provider double is, such as `http://127.0.0.1:4001`, if one runs. An upstream takes its place.
    pub double: Option<String>,
    /// The base URL that the user gave.
    pub upstream: Option<String>,
    /// What `OPENAI_API_KEY` holds.
    pub openai: Option<Secret>,
    /// What `ANTHROPIC_API_KEY` holds.
    pub anthropic: Option<Secret>,
}

/// What the demo hands out.
#[derive(Debug)]
pub struct Demo {
    /// A key for applications.
    pub key: Secret,
    /// An API token of the organisation's admin.
    pub token: Secret,
}

/// Makes the demo, or makes it fit what there is to reach now.
pub async fn seed(
    api: &Api,
    access: &Access,
    kept: &mut Kept,
    providers: &DemoProviders,
    now: SystemTime,
) -> Result<Demo, SeedError> {
    let errand = Errand { api, now };
    let operator = operator(&errand, access, kept).await?;
    let is_new = errand.find(&operator, PLACE).await?.is_none();
    if is_new {
        let document = providers.platform()?;
        errand.post(&operator, "/platform/apply", &json!({ "document": document })).await?;
        let id = OrganisationId::new(DEMO).map_err(SeedError::broken)?;
        let export = Export::of_document(&id, providers.organisation()?).map_err(SeedError::broken)?;
        let export = serde_json::to_value(export).map_err(SeedError::broken)?;
        errand.post(&operator, &format!("{PLACE}/import"), &export).await?;
    }
    let admin = admin(&errand, &operator, kept, is_new).await?;
    // What is new comes before what names it, and what goes, after.
    let made = provide(&errand, &operator, providers).await?;
    lead(&errand, &admin, providers, &made).await?;
    take_away(&errand, &operator, providers).await?;
    let demo = Demo { key: key(&errand, &admin, kept).await?, token: token(&errand, &admin, kept).await? };
    for badge in [&admin, &operator] {
        errand.delete(badge, "/session", None).await?;
    }
    Ok(demo)
}

impl DemoProviders {
    /// Whether what the user gave can be an address.
    pub fn check(&self) -> Result<(), SeedError> {
        match &self.upstream {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Err(SeedError::Upstream(url.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether somebody answers in Anthropic's dialect.
    pub fn has_anthropic(&self) -> bool {
        self.has_double() || self.anthropic.is_some()
    }

    fn has_double(&self) -> bool {
        self.upstream.is_none() && self.double.is_some()
    }

    /// Where a provider of this name is, if that is the demo's to say.
    fn address(&self, name: &str) -> Option<String> {
        if name == UPSTREAM {
            return self.upstream.clone();
        }
        let (_, end) = MOCKS.iter().find(|(mock, _)| *mock == name)?;
        Some(format!("{}{end}", self.double.as_ref()?))
    }

    /// The credential for a provider of this name.
    fn credential(&self, name: &str) -> Option<Value> {
        let secret = match name {
            OPENAI => self.openai.as_ref(),
            ANTHROPIC => self.anthropic.as_ref(),
            _ => None,
        };
        Some(json!({ "value": secret?.expose() }))
    }

    /// What holds for everyone.
    fn platform(&self) -> Result<Value, SeedError> {
        let mut document = joined(&[
            (true, include_str!("platform.toml")),
            (self.upstream.is_some(), include_str!("upstream.toml")),
            (self.has_double(), include_str!("mock.toml")),
            (self.openai.is_some(), include_str!("openai.toml")),
            (self.anthropic.is_some(), include_str!("anthropic.toml")),
        ])?;
        let providers = document.get_mut("providers").and_then(Value::as_array_mut);
        for provider in providers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = provider.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            provider.extend(self.changing(&name));
        }
        Ok(document)
    }

    /// What of a provider may be another thing at the next start.
    fn changing(&self, name: &str) -> Map<String, Value> {
        let address = self.address(name).map(|url| ("base_url".to_owned(), Value::from(url)));
        let credential = self.credential(name).map(|key| ("api_key".to_owned(), key));
        address.into_iter().chain(credential).collect()
    }

    /// What the organisation says.
    fn organisation(&self) -> Result<Value, SeedError> {
        joined(&[
            (true, include_str!("organisation.toml")),
            (self.has_double(), include_str!("route_mock.toml")),
            (self.openai.is_some(), include_str!("route_openai.toml")),
            (self.anthropic.is_some(), include_str!("route_anthropic.toml")),
        ])
    }

    /// The providers, as resources.
    fn wanted(&self) -> Result<BTreeMap<String, Value>, SeedError> {
        let pieces = decompose_platform(self.platform()?).map_err(SeedError::broken)?;
        let providers = pieces.into_iter().filter(|piece| piece.kind.name == "providers");
        Ok(providers.map(|piece| (piece.id.to_string(), piece.document)).collect())
    }
}

fn joined(parts: &[(bool, &str)]) -> Result<Value, SeedError> {
    let text: String = parts.iter().filter(|(wanted, _)| *wanted).map(|(_, text)| *text).collect();
    sources::parse(&text).map_err(SeedError::broken)
}

/// A session of the operator, whose account is made if it is not there.
async fn operator(errand: &Errand<'_>, access: &Access, kept: &mut Kept) -> Result<Badge, SeedError> {
    let mut link = access.bootstrap(errand.now).await?;
    if link.is_none() {
        if let Some(badge) = errand.sign_in(None, kept.operator()).await? {
            return Ok(badge);
        }
        // The first invitation was lost, or the account is another one by now: who has the store makes another.
        link = Some(access.recover_operator(errand.now).await?);
    }
    let link = link.ok_or(SeedError::LockedOut("operator"))?;
    kept.call_operator(&link.invitation.name)?;
    errand.accept(link.text.expose(), kept.operator()).await?;
    errand.sign_in(None, kept.operator()).await?.ok_or(SeedError::LockedOut("operator"))
}

/// A session of the organisation's admin, whose account is made if nobody has one there.
async fn admin(errand: &Errand<'_>, operator: &Badge, kept: &Kept, is_new: bool) -> Result<Badge, SeedError> {
    let account = kept.admin();
    if !is_new && let Some(badge) = errand.sign_in(Some(DEMO), account).await? {
        return Ok(badge);
    }
    let asked = json!({ "name": account.name });
    let invited = errand.post(operator, &format!("{PLACE}/first-admin"), &asked).await;
    if let Err(SeedError::Refused { status: 409, .. }) = invited {
        return Err(SeedError::LockedOut("admin"));
    }
    errand.accept(invited?.text("text"), account).await?;
    errand.sign_in(Some(DEMO), account).await?.ok_or(SeedError::LockedOut("admin"))
}

/// Makes the providers that are not there, and gives the others what they are reached by; says which it made.
async fn provide(
    errand: &Errand<'_>,
    operator: &Badge,
    providers: &DemoProviders,
) -> Result<BTreeSet<String>, SeedError> {
    let mut made = BTreeSet::new();
    for (name, document) in providers.wanted()? {
        let path = format!("/platform/providers/{name}");
        let Some(there) = errand.find(operator, &path).await? else {
            errand.put(operator, &path, None, &document).await?;
            made.insert(name);
            continue;
        };
        let changing = providers.changing(&name);
        if changing.iter().any(|(member, value)| there.body.get(member) != Some(value)) {
            errand.patch(operator, &path, there.tag()?, &Value::Object(changing)).await?;
        }
    }
    Ok(made)
}

/// Takes routes of the demo's own away whose providers go, and adds those of providers that are new.
async fn lead(
    errand: &Errand<'_>,
    admin: &Badge,
    providers: &DemoProviders,
    made: &BTreeSet<String>,
) -> Result<(), SeedError> {
    let document = providers.organisation()?;
    let wanted = document.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
    let path = format!("{PLACE}/routes");
    let there = errand.find(admin, &path).await?;
    let before = there.as_ref().and_then(|said| said.body.get("routes")).and_then(Value::as_array);
    let before = before.cloned().unwrap_or_default();
    let has = |routes: &[Value], name: &str| routes.iter().any(|route| named(route) == name);
    let mut after = before.clone();
    after.retain(|route| !OWN_ROUTES.contains(&named(route)) || has(&wanted, named(route)));
    let leads_to_new = |route: &&Value| {
        let target = route.pointer("/targets/0").and_then(Value::as_str).unwrap_or_default();
        made.contains(target.split('/').next().unwrap_or_default())
    };
    let new: Vec<Value> =
        wanted.iter().filter(leads_to_new).filter(|route| !has(&after, named(route))).cloned().collect();
    after.extend(new);
    if after == before {
        return Ok(());
    }
    let tag = there.as_ref().map(Said::tag).transpose()?;
    errand.put(admin, &path, tag, &json!({ "routes": after })).await.map(drop)
}

fn named(route: &Value) -> &str {
    route.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Takes the providers of the demo's own away that cannot be reached now.
async fn take_away(
    errand: &Errand<'_>,
    operator: &Badge,
    providers: &DemoProviders,
) -> Result<(), SeedError> {
    let wanted = providers.wanted()?;
    for name in OWN_PROVIDERS.into_iter().filter(|name| !wanted.contains_key(*name)) {
        let path = format!("/platform/providers/{name}");
        if let Some(there) = errand.find(operator, &path).await? {
            errand.delete(operator, &path, Some(there.tag()?)).await?;
        }
    }
    Ok(())
}

/// The key that was shown, if it works still, or another one.
async fn key(errand: &Errand<'_>, admin: &Badge, kept: &mut Kept) -> Result<Secret, SeedError> {
    let place = format!("{PLACE}/api-keys");
    if let Some((id, key)) = kept.key() {
        let there = errand.find(admin, &format!("{place}/{id}")).await?;
        let works = |said: &Said| {
            said.body.get("enabled") != Some(&Value::Bool(false)) && said.body.get("expires").is_none()
        };
        if there.as_ref().is_some_and(works) {
            return Ok(key);
        }
    }
    let made = errand.post(admin, &place, &json!({ "name": DEMO, "groups": [GROUP] })).await?;
    kept.keep_key(made.text("id"), made.text("key"))?;
    Ok(Secret::new(made.text("key").to_owned()))
}

/// The token that was shown, if it works still, or another one.
async fn token(errand: &Errand<'_>, admin: &Badge, kept: &mut Kept) -> Result<Secret, SeedError> {
    if let Some(token) = kept.token()
        && errand.find(&Badge::Token(token.clone()), "/me").await?.is_some()
    {
        return Ok(token);
    }
    let asked = json!({ "name": DEMO, "lifetime": TOKEN_LIFETIME });
    let made = errand.post(admin, &format!("{PLACE}/api-tokens"), &asked).await?;
    kept.keep_token(made.text("secret"))?;
    Ok(Secret::new(made.text("secret").to_owned()))
}

#[cfg(test)]
mod tests;
