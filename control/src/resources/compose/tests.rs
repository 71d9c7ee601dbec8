//! Does a document say the same after it was taken apart and put together?

use super::*;
use palisade_filters::documents::ProviderDocument;
use proptest::prelude::*;
use serde_json::json;
use serde_json::value::to_raw_value;

/// Pieces, as the store gives them back.
fn stored(pieces: &[Piece]) -> Vec<(Kind, ResourceId, Box<RawValue>)> {
    let stored = pieces.iter();
    stored
        .map(|piece| (piece.kind.stored(), piece.id.clone(), to_raw_value(&piece.document).unwrap()))
        .collect()
}

fn borrowed(
    resources: &[(Kind, ResourceId, Box<RawValue>)],
) -> impl Iterator<Item = (&Kind, &ResourceId, &RawValue)> {
    resources.iter().map(|(kind, id, document)| (kind, id, &**document))
}

fn acme() -> OrganisationId {
    OrganisationId::new("acme").unwrap()
}

fn composed(pieces: &[Piece]) -> OrganisationDocument {
    compose_organisation(&acme(), borrowed(&stored(pieces))).unwrap()
}

/// What a document says, where the order of a list says nothing.
fn said(mut document: OrganisationDocument) -> String {
    document.groups.sort_by_key(|one| one.name.clone());
    document.keys.sort_by_key(|one| one.id.clone());
    document.quotas.sort_by_key(|one| format!("{one:?}"));
    document.kill_switches.sort_by_key(|one| format!("{one:?}"));
    document.dlp.keyword_lists.sort_by_key(|one| one.id.clone());
    document.dlp.exact_match.sort_by_key(|one| one.id.clone());
    format!("{document:?}")
}

/// Names as people give them: some are ids, some are not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9-]{0,6}", "[A-Za-zä /._~-]{1,8}", Just("default".to_owned())]
}

/// A member that may be missing.
fn maybe(
    name: &'static str,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Map<String, Value>> {
    proptest::option::of(value)
        .prop_map(move |value| value.map(|value| (name.to_owned(), value)).into_iter().collect())
}

fn all(members: Vec<BoxedStrategy<Map<String, Value>>>) -> impl Strategy<Value = Value> {
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
}

fn many<S: Strategy<Value = Value>>(one: S) -> impl Strategy<Value = Value> {
    proptest::collection::vec(one, 0..5).prop_map(Value::Array)
}

/// Elements with names of their own.
fn named(member: &'static str, rest: Value) -> impl Strategy<Value = Value> {
    let names = proptest::collection::btree_set(name(), 0..5);
    let names = names.prop_map(|names| names.into_iter().collect::<Vec<_>>()).prop_shuffle();
    names.prop_map(move |names| {
        let element = |name: String| {
            let mut element = rest.clone();
            element[member] = name.into();
            element
        };
        names.into_iter().map(element).collect()
    })
}

fn organisation() -> impl Strategy<Value = Value> {
    let list =
        json!({ "entity": "NAME", "category": "business", "terms": ["one", "two"], "confidence": 0.75 });
    let table =
        json!({ "entity": "ROW", "category": "business", "file": "lists/acme/t", "key": { "env": "K" } });
    let quota = (prop_oneof![Just("organisation"), Just("key")], proptest::option::of(name()), 1..9_u64).prop_map(
        |(subject, model, most)| json!({ "subject": subject, "model": model, "requests_per_day": most, "dollars_per_month": "12.50" }),
    );
    let switch = (name(), name()).prop_map(|(model, reason)| json!({ "model": model, "reason": reason }));
    let rule = name().prop_map(
        |name| json!({ "name": name, "action": "block", "countries": ["DE"], "confidence_min": 0.25 }),
    );
    let route = name()
        .prop_map(|name| json!({ "name": name, "models": ["*"], "targets": ["p"], "latency_max": "90s" }));
    let key = json!({ "sha256": "0".repeat(64), "user": "ann", "expires": "2030-01-31T00:00:00Z", "enabled": false });
    let dlp = all(vec![
        maybe("threshold", Just(json!(0.625))).boxed(),
        maybe("findings_header", any::<bool>().prop_map(Value::from)).boxed(),
        maybe("keyword_lists", named("id", list)).boxed(),
        maybe("exact_match", named("id", table)).boxed(),
    ]);
    all(vec![
        Just([("id".to_owned(), json!("acme"))].into_iter().collect()).boxed(),
        maybe("name", name().prop_map(Value::from)).boxed(),
        maybe("suspended", any::<bool>().prop_map(Value::from)).boxed(),
        maybe("default_action", Just(json!("deny"))).boxed(),
        maybe("audit", Just(json!({ "on_full": "refuse" }))).boxed(),
        maybe("ip_allowlist", many(Just(json!("203.0.113.0/24")))).boxed(),
        maybe("geo", Just(json!({ "deny": { "countries": ["RU"] }, "unknown": "allow" }))).boxed(),
        maybe("dlp", dlp).boxed(),
        maybe("credint", Just(json!({ "text": false }))).boxed(),
        maybe("policy", many(rule)).boxed(),
        maybe("groups", named("name", json!({}))).boxed(),
        maybe("keys", named("id", key)).boxed(),
        maybe("model_access", Just(json!({ "rules": [{ "groups": ["a"], "deny": ["*"] }] }))).boxed(),
        maybe("quotas", many(quota)).boxed(),
        maybe("routes", many(route)).boxed(),
        maybe("kill_switches", many(switch)).boxed(),
    ])
}

fn platform() -> impl Strategy<Value = Value> {
    let provider =
        json!({ "base_url": "https://x", "models": ["*"], "api_key": { "env": "X_API_KEY" }, "http": "2" });
    let model = (name(), proptest::option::of(name())).prop_map(|(name, provider)| {
        json!({ "name": name, "provider": provider, "price": { "input": "0.20", "output": 3 } })
    });
    all(vec![
        maybe("floor", Just(json!({ "shipped": "none", "rules": [{ "name": "r", "action": "log" }] })))
            .boxed(),
        maybe("providers", named("name", provider)).boxed(),
        maybe("detectors", named("name", json!({ "url": "http://d", "timeout": "250ms" }))).boxed(),
        maybe("models", many(model)).boxed(),
    ])
}

proptest! {
    #[test]
    fn what_is_taken_apart_says_the_same_together(document in organisation(), turn in any::<u8>()) {
        let written: OrganisationDocument = fields::read(&document).unwrap();
        let mut pieces = decompose_organisation(document).unwrap();
        let names: BTreeSet<_> = pieces.iter().map(|piece| (piece.kind.name, piece.id.clone())).collect();
        prop_assert_eq!(names.len(), pieces.len(), "two resources have one name");
        for piece in &pieces {
            prop_assert_eq!(piece.kind.check(&piece.id, &piece.document), Ok(()));
        }
        // Whatever order the store gives them in.
        let middle = usize::from(turn) % pieces.len().max(1);
        pieces.rotate_left(middle);
        prop_assert_eq!(said(composed(&pieces)), said(written));
    }

    #[test]
    fn the_order_of_providers_and_models_is_kept(document in platform()) {
        let written: PlatformDocument = fields::read(&document).unwrap();
        let pieces = decompose_platform(document).unwrap();
        let mut composed = compose_platform(borrowed(&stored(&pieces))).unwrap();
        let mut written = written;
        composed.detectors.sort_by_key(|one| one.name.clone());
        written.detectors.sort_by_key(|one| one.name.clone());
        prop_assert_eq!(format!("{composed:?}"), format!("{written:?}"));
    }
}

fn resource(row: &'static KindRow, id: &str, document: Value) -> Piece {
    Piece { kind: row, id: ResourceId::new(id).unwrap(), document }
}

fn organisations(name: &str) -> &'static KindRow {
    kind(Side::Organisation, name).unwrap()
}

#[test]
fn an_element_is_called_by_its_id_or_as_it_says() {
    let groups = organisations("groups");
    let document = composed(&[
        resource(groups, "red", json!({})),
        resource(groups, "data", json!({ "name": "Data Science" })),
    ]);
    let names: Vec<_> = document.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["Data Science", "red"]);
    let pieces = decompose_organisation(
        json!({ "id": "acme", "groups": [{ "name": "Data Science" }, { "name": "red" }] }),
    );
    let pieces = pieces.unwrap();
    assert_eq!(pieces[0], resource(groups, "Data-Science", json!({ "name": "Data Science" })));
    assert_eq!(pieces[1], resource(groups, "red", json!({})));
}

#[test]
fn a_users_keys_have_its_groups_and_end_with_it() {
    let key = |user: &str| json!({ "sha256": "0".repeat(64), "user": user, "groups": ["red"] });
    let keys = organisations("api-keys");
    let mut pieces = vec![
        resource(organisations("groups"), "red", json!({})),
        resource(organisations("groups"), "blue", json!({})),
        resource(organisations("users"), "ann", json!({ "groups": ["red", "blue"] })),
        resource(organisations("users"), "bob", json!({ "enabled": false })),
        resource(keys, "k1", key("ann")),
        resource(keys, "k2", key("bob")),
        resource(keys, "k3", key("nobody")),
    ];
    let document = composed(&pieces);
    let keys: Vec<_> =
        document.keys.iter().map(|key| (key.id.as_str(), key.groups.join(" "), key.enabled)).collect();
    let expected = [("k1", "red blue", true), ("k2", "red", false), ("k3", "red", true)];
    assert_eq!(keys, expected.map(|(id, groups, enabled)| (id, groups.to_owned(), enabled)));
    pieces.push(resource(organisations("users"), "eve", json!({ "groups": ["green"] })));
    let error = compose_organisation(&acme(), borrowed(&stored(&pieces))).unwrap_err().to_string();
    assert_eq!(error, "`eve` among the `users`: `/groups`: there is no group `green`; add it to `groups`");
}

#[test]
fn a_secret_that_is_given_itself_reaches_its_place_and_no_text() {
    let providers = kind(Side::Platform, "providers").unwrap();
    let provider = json!({ "base_url": "https://x", "models": ["*"], "api_key": { "value": "sk-hidden" } });
    let document = compose_platform(borrowed(&stored(&[resource(providers, "p", provider)]))).unwrap();
    let [ProviderDocument { api_key: Some(SecretRef::Given(secret)), .. }] = &document.providers[..] else {
        panic!("{document:?}")
    };
    assert_eq!(secret.expose(), "sk-hidden");
    assert!(!format!("{document:?}").contains("sk-hidden"));
    let written: Result<ProviderDocument, _> =
        fields::read(&json!({ "name": "p", "base_url": "x", "models": [], "api_key": { "given": "x" } }));
    assert!(written.unwrap_err().message.contains("expected `env` or `file`"), "no file gives one");
}

#[test]
fn what_a_document_holds_and_no_kind_takes_is_an_error() {
    let error = decompose_organisation(json!({ "id": "acme", "groops": [] })).unwrap_err();
    assert_eq!(error.problem.pointer, "/groops");
    let error = decompose_platform(json!({ "providers": [{ "name": "p" }] })).unwrap_err();
    assert_eq!(error.problem.pointer, "/providers/0/base_url");
}
