//! Which kinds of resources are there? One table.
//!
//! A row says how a kind is called in URLs and in the store, whose it is, where its resources stand in their owner's
//! document, what is secret in them, and which type reads them. Everything else of this room is written once for all
//! kinds: a new one is a row here, if a document has a place for it.

use super::fields::{self, FieldError};
use super::secrets;
use super::shapes::{
    AddressesDocument, PolicyChainDocument, RoutesDocument, SettingsDocument, StatusDocument,
    TemplateDocument, UserDocument,
};
use crate::store::{Kind, Owner, ResourceId};
use palisade_filters::dlp::rules::RuleDocument;
use palisade_filters::documents::routes::KillSwitchDocument;
use palisade_filters::documents::{
    CredintDocument, DetectorDocument, DlpDocument, ExactMatchDocument, FloorDocument, GroupDocument,
    IssuersDocument, JwtIssuerDocument, KeyDocument, KeywordListDocument, ModelAccessDocument,
    ProviderDocument, QuotaDocument,
};
use palisade_filters::geoip::GeoDocument;
use palisade_filters::quota::ModelDocument;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The id of the one resource of a kind that has one.
pub const ONLY: &str = "default";
/// The kind that says whether an organisation is served.
pub(super) const STATUS: &str = "status";
/// The member that says where in its list an element stands, in kinds whose order counts.
pub(super) const POSITION: &str = "position";

/// Whose resources of a kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The platform's.
    Platform,
    /// An organisation's.
    Organisation,
}

impl Side {
    /// Of this owner.
    pub fn of(owner: &Owner) -> Self {
        match owner {
            Owner::Platform => Self::Platform,
            Owner::Organisation(_) => Self::Organisation,
        }
    }
}

/// A way into a document: names of members.
pub(super) type Way = &'static [&'static str];

/// Where resources of a kind stand in their owner's document.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// There is one. Each of its members stands at a place of its own.
    Members(&'static [(&'static str, Way)]),
    /// There is one, and it stands at one place, but for members that are kinds of their own.
    Whole {
        /// Where.
        place: Way,
        /// Members that are not part of it.
        but: &'static [&'static str],
    },
    /// There are many: each is an element of a list.
    List {
        /// Where.
        place: Way,
        /// How an element is called.
        named: Named,
        /// Whether it matters which comes first: then an element may say its `position`.
        ordered: bool,
    },
    /// There are many, and they stand beside the document.
    Beside {
        /// Whether the policy depends on them all the same.
        shapes_policy: bool,
    },
}

/// How an element of a list is called.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// By a member of its own. If it does not say it, by the id of the resource.
    By(&'static str),
    /// It has no name. When a document is taken apart, its id is made of these members.
    After(&'static [&'static str]),
}

/// A kind of resource.
#[derive(Debug)]
pub struct KindRow {
    /// In URLs and in the store.
    pub name: &'static str,
    /// Whose they are.
    pub side: Side,
    /// Where they stand.
    pub shape: Shape,
    /// What they are, in a line.
    pub about: &'static str,
    /// The kind that permissions name.
    pub permission: &'static str,
    /// What is masked, as JSON pointers.
    pub secrets: &'static [&'static str],
    /// A secret that is not given anew stays only while these stay: nobody sends it elsewhere who does not know it.
    pub(super) secrets_stay_with: &'static [&'static str],
    read: fn(&Value) -> Result<(), FieldError>,
    describe: fn(&mut SchemaGenerator) -> Schema,
}

/// All of them. What stands on others comes behind them, so that an import can be made part by part.
pub static KINDS: &[KindRow] = &[
    row::<SettingsDocument>(
        "settings",
        Side::Organisation,
        "its name, and what holds where nothing else is said",
    )
    .shaped(Shape::Members(&[
        ("name", &["name"]),
        ("default_action", &["default_action"]),
        ("audit", &["audit"]),
    ])),
    row::<StatusDocument>(STATUS, Side::Organisation, "whether it is served or suspended")
        .shaped(Shape::Members(&[("suspended", &["suspended"])]))
        .permitted("organisations"),
    row::<GroupDocument>("groups", Side::Organisation, "groups that keys belong to")
        .shaped(list(&["groups"], Named::By("name"))),
    row::<UserDocument>("users", Side::Organisation, "people who own keys, with their groups")
        .shaped(Shape::Beside { shapes_policy: true }),
    row::<KeyDocument>("api-keys", Side::Organisation, "keys of applications; their secrets are shown once")
        .shaped(list(&["keys"], Named::By("id")))
        .secret(&["/sha256"], &[]),
    row::<JwtIssuerDocument>("jwt-issuers", Side::Organisation, "issuers whose JWTs are as good as keys")
        .shaped(list(&["jwt_issuers"], Named::After(&["issuer", "audience"]))),
    row::<AddressesDocument>("ip-allowlist", Side::Organisation, "addresses that callers may come from")
        .shaped(Shape::Members(&[("addresses", &["ip_allowlist"])])),
    row::<GeoDocument>("geo-policy", Side::Organisation, "countries and networks that callers may come from")
        .shaped(Shape::Whole { place: &["geo"], but: &[] }),
    row::<RuleDocument>("dlp-rules", Side::Organisation, "its own rules of detection")
        .shaped(list(&["dlp", "rules"], Named::By("id"))),
    row::<KeywordListDocument>("dictionaries", Side::Organisation, "lists of terms that are looked for")
        .shaped(list(&["dlp", "keyword_lists"], Named::By("id"))),
    row::<ExactMatchDocument>("exact-match", Side::Organisation, "tables of records that are looked for")
        .shaped(list(&["dlp", "exact_match"], Named::By("id")))
        .secret(&["/key/value"], &[]),
    row::<DlpDocument>("dlp-settings", Side::Organisation, "how texts are searched")
        .shaped(Shape::Whole { place: &["dlp"], but: &["keyword_lists", "exact_match", "rules"] }),
    row::<CredintDocument>("credint", Side::Organisation, "which credentials are looked up in leak reports")
        .shaped(Shape::Whole { place: &["credint"], but: &[] }),
    row::<PolicyChainDocument>("policy-chain", Side::Organisation, "its policy rules, in order")
        .shaped(Shape::Members(&[("rules", &["policy"])])),
    row::<ModelAccessDocument>(
        "model-access",
        Side::Organisation,
        "who may use which model, tool and feature",
    )
    .shaped(Shape::Whole { place: &["model_access"], but: &[] }),
    row::<QuotaDocument>("quotas", Side::Organisation, "budgets and rates")
        .shaped(list(&["quotas"], Named::After(&["subject", "group", "model"]))),
    row::<RoutesDocument>("routes", Side::Organisation, "where models are found, in order")
        .shaped(Shape::Members(&[("routes", &["routes"])])),
    row::<KillSwitchDocument>("kill-switches", Side::Organisation, "what it has switched off for itself")
        .shaped(list(&["kill_switches"], Named::After(&["provider", "model"]))),
    row::<FloorDocument>("floor", Side::Platform, "what no organisation can loosen")
        .shaped(Shape::Whole { place: &["floor"], but: &[] }),
    row::<ProviderDocument>("providers", Side::Platform, "where requests may go")
        .shaped(Shape::List { place: &["providers"], named: Named::By("name"), ordered: true })
        .secret(&["/api_key/value"], &["/base_url", "/allow_private_addresses"]),
    row::<DetectorDocument>("detectors", Side::Platform, "services that find what has no form")
        .shaped(list(&["detectors"], Named::By("name"))),
    row::<ModelDocument>("models", Side::Platform, "models and prices over those of the shipped catalogue")
        .shaped(Shape::List {
            place: &["models"],
            named: Named::After(&["provider", "name"]),
            ordered: true,
        }),
    row::<KillSwitchDocument>("kill-switches", Side::Platform, "what is switched off for everyone")
        .shaped(list(&["kill_switches"], Named::After(&["provider", "model"]))),
    row::<IssuersDocument>("jwt", Side::Platform, "where issuers of JWTs may keep their keys")
        .shaped(Shape::Whole { place: &["jwt"], but: &[] }),
    row::<TemplateDocument>("templates", Side::Platform, "what new organisations begin with")
        .shaped(Shape::Beside { shapes_policy: false }),
];

const fn row<T: DeserializeOwned + JsonSchema>(
    name: &'static str,
    side: Side,
    about: &'static str,
) -> KindRow {
    KindRow {
        name,
        side,
        shape: Shape::Beside { shapes_policy: false },
        about,
        permission: name,
        secrets: &[],
        secrets_stay_with: &[],
        read: |value| fields::read::<T>(value).map(drop),
        // The type itself, not a reference to it: it is changed below.
        describe: T::json_schema,
    }
}

const fn list(place: Way, named: Named) -> Shape {
    Shape::List { place, named, ordered: false }
}

/// The kind of this name, on this side.
pub fn kind(side: Side, name: &str) -> Option<&'static KindRow> {
    KINDS.iter().find(|row| row.side == side && row.name == name)
}

/// What a policy is made of: a change of another kind changes none.
pub fn policy_kinds(side: Side) -> Vec<Kind> {
    KINDS.iter().filter(|row| row.side == side && row.shapes_policy()).map(KindRow::stored).collect()
}

impl PartialEq for KindRow {
    fn eq(&self, other: &Self) -> bool {
        (self.side, self.name) == (other.side, other.name)
    }
}

impl KindRow {
    const fn shaped(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    const fn permitted(self, permission: &'static str) -> Self {
        Self { permission, ..self }
    }

    const fn secret(self, secrets: &'static [&'static str], stay_with: &'static [&'static str]) -> Self {
        Self { secrets, secrets_stay_with: stay_with, ..self }
    }

    /// Whether there is one, whose id is [`ONLY`].
    pub fn is_one(&self) -> bool {
        matches!(self.shape, Shape::Members(_) | Shape::Whole { .. })
    }

    /// Whether the policy depends on it.
    pub fn shapes_policy(&self) -> bool {
        !matches!(self.shape, Shape::Beside { shapes_policy: false })
    }

    /// As the store names it.
    ///
    /// # Panics
    ///
    /// If the table held what is no name of a kind, which a test looks at.
    #[expect(clippy::expect_used, reason = "a test reads all names of the table")]
    pub fn stored(&self) -> Kind {
        Kind::new(self.name).expect("the table holds names of kinds")
    }

    /// How a resource of it is written, as JSON Schema (draft 2020-12); parts with names of their own become
    /// definitions of the generator.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let mut schema = (self.describe)(generator);
        match self.shape {
            Shape::Whole { but, .. } => {
                if let Some(Value::Object(properties)) = schema.get_mut("properties") {
                    properties.retain(|name, _| !but.contains(&name.as_str()));
                }
            }
            Shape::List { named, ordered, .. } => {
                if let (Named::By(name), Some(Value::Array(required))) = (named, schema.get_mut("required")) {
                    required.retain(|other| other != name);
                }
                if let (true, Some(Value::Object(properties))) = (ordered, schema.get_mut("properties")) {
                    let about = "Where it stands among its kind: the lowest first; 0, if it is not said. Equal ones \
                                 stand in the order of their ids.";
                    let position = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0,
                        "description": about });
                    properties.insert(POSITION.to_owned(), position);
                }
            }
            Shape::Members(_) | Shape::Beside { .. } => {}
        }
        schema
    }

    /// Whether a resource of it may be called that.
    pub(super) fn check_id(&self, id: &ResourceId) -> Result<(), FieldError> {
        if self.is_one() && id.as_str() != ONLY {
            return Err(FieldError::new("", format!("there is one `{}`, and its id is `{ONLY}`", self.name)));
        }
        Ok(())
    }

    /// Whether a document is one of this kind, by itself.
    pub(super) fn check(&self, id: &ResourceId, document: &Value) -> Result<(), Vec<FieldError>> {
        let Some(members) = document.as_object() else {
            return Err(vec![FieldError::new("", format!("it is no object; `{}` are objects", self.name))]);
        };
        let mut wrong = Vec::new();
        let mut document = document.clone();
        if let Shape::Whole { but, .. } = self.shape {
            for name in but.iter().filter(|name| members.contains_key(**name)) {
                let its = KINDS.iter().find(|row| row.stands_at(name)).map_or("", |row| row.name);
                let message =
                    format!("this is a kind of its own; write each of its elements there (`{its}`)");
                wrong.push(FieldError::new(format!("/{name}"), message));
                document.as_object_mut().map(|members| members.remove(*name));
            }
        }
        if let Err(error) = position(self, &document) {
            wrong.push(error);
        }
        if let Err(error) = secrets::take_given(self, &mut document) {
            wrong.push(error);
        }
        self.complete(id, &mut document);
        if let Err(error) = (self.read)(&document) {
            wrong.push(error);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Makes an element of its list out of a resource.
    pub(super) fn complete(&self, id: &ResourceId, document: &mut Value) {
        let (Shape::List { named, ordered, .. }, Some(members)) = (self.shape, document.as_object_mut())
        else {
            return;
        };
        if ordered {
            members.remove(POSITION);
        }
        if let Named::By(name) = named {
            members.entry(name).or_insert_with(|| id.as_str().into());
        }
    }

    fn stands_at(&self, name: &str) -> bool {
        matches!(self.shape, Shape::List { place, .. } if place.last() == Some(&name))
    }
}

/// Where among its kind a resource wants to stand.
pub(super) fn position(row: &KindRow, document: &Value) -> Result<u32, FieldError> {
    let Shape::List { ordered: true, .. } = row.shape else { return Ok(0) };
    let Some(position) = document.get(POSITION) else { return Ok(0) };
    let position = position.as_u64().and_then(|position| u32::try_from(position).ok());
    position.ok_or_else(|| {
        FieldError::new(format!("/{POSITION}"), format!("a whole number from 0 to {}", u32::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Permission;
    use schemars::generate::SchemaSettings;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_line_in_the_documentation() {
        let manual = include_str!("../../../docs/configuration.md");
        let names: BTreeSet<_> = KINDS.iter().map(|row| (row.side, row.name)).collect();
        assert_eq!(names.len(), KINDS.len());
        for row in KINDS {
            let side = if row.side == Side::Platform { "platform" } else { "organisation" };
            let one = if row.is_one() { ", one" } else { "" };
            let line = format!("| `{}` | {side}{one} | {} |", row.stored(), row.about);
            assert!(manual.contains(&line), "docs/configuration.md lacks: {line}");
        }
        let lines =
            manual.lines().filter(|line| line.contains("| organisation") || line.contains("| platform"));
        assert_eq!(lines.count(), KINDS.len(), "docs/configuration.md has a kind that is none");
    }

    #[test]
    fn every_kind_is_somebodys_to_read_and_to_change() {
        for row in KINDS {
            for verb in ["read", "create", "update", "delete"] {
                let permission = format!("{}.{verb}", row.permission);
                assert!(Permission::parse(&permission).is_some(), "nobody can have `{permission}`");
            }
        }
    }

    #[test]
    fn a_schema_describes_what_is_read() {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        for row in KINDS {
            let schema = row.schema(&mut generator).to_value();
            assert_eq!(schema["type"], json!("object"), "{}", row.name);
            assert_eq!(schema["additionalProperties"], json!(false), "{}", row.name);
            let empty = row.check(&ResourceId::new("x").unwrap(), &json!({}));
            let required: BTreeSet<String> = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| format!("/{}", name.as_str().unwrap()))
                .collect();
            // Of several fields that are missing, the first is named.
            match empty {
                Ok(()) => assert_eq!(required, BTreeSet::new(), "{}", row.name),
                Err(wrong) => assert!(required.contains(&wrong[0].pointer), "{}: {wrong:?}", row.name),
            }
            for name in schema["properties"].as_object().unwrap().keys() {
                let unknown = row.check(&ResourceId::new("x").unwrap(), &json!({ name: {} }));
                let is_unknown = |error: &FieldError| error.message.starts_with("unknown field");
                assert!(!unknown.is_err_and(|wrong| wrong.iter().any(is_unknown)), "{}: {name}", row.name);
            }
        }
        let providers = kind(Side::Platform, "providers").unwrap().schema(&mut generator).to_value();
        assert_eq!(providers["properties"]["connect_timeout"]["default"], json!("5s"));
        assert_eq!(providers["required"], json!(["base_url", "models"]));
        assert!(providers["properties"][POSITION].is_object());
        let dlp = kind(Side::Organisation, "dlp-settings").unwrap().schema(&mut generator).to_value();
        assert!(
            dlp["properties"].get("keyword_lists").is_none()
                && dlp["properties"]["threshold"]["default"] == 0.5
        );
        let definitions = serde_json::to_string(generator.definitions()).unwrap();
        assert!(definitions.contains("writeOnly") && definitions.contains("\"value\""));
    }
}
