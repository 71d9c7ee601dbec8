//! How is the API described to programs? `OpenAPI` 3.1, made from the table of routes and from the types that read
//! bodies: what is described is what is done.

use super::call::{COOKIE, PAGE_MAX};
use super::problem::{NAMES, Name};
use super::routes::{Action, Form, Guard, Queried, ROOT, Route, Takes, Values};
use http::Method;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What stands before names of shared parts.
const SCHEMAS: &str = "#/components/schemas";

const ORGANISATION_PATTERN: &str = "^[a-z0-9-]{1,64}$";

/// The document of these routes.
pub(super) fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator);
        let path = paths.entry(&route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas: Map<String, Value> = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Palisade",
            "version": "1",
            "description": "The API of the control plane. Resources of all kinds are read and changed in one way: the \
                document is the body, its version the `ETag`. Problems are RFC 9457.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "a token of `api-tokens`" },
                "session": { "type": "apiKey", "in": "cookie", "name": COOKIE,
                    "description": "a session; what changes something needs the header `X-CSRF-Token` besides" },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let (status, form) = route.gives;
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag(route)],
        "summary": route.about,
        "responses": {
            status.to_string(): response(route, form, generator),
            "default": {
                "description": "it was not done; `type` says why",
                "content": { "application/problem+json": { "schema": { "$ref": format!("{SCHEMAS}/Problem") } } },
            },
        },
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    let parameters = parameters(route);
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), Value::Array(parameters));
    }
    if let Some(body) = request_body(route.takes, generator) {
        members.insert("requestBody".to_owned(), body);
    }
    members.insert("security".to_owned(), security(route.guard));
    if let Some(permission) = permission(route.guard) {
        members.insert("x-permission".to_owned(), permission.into());
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let path = route.path.strip_prefix(ROOT).unwrap_or(&route.path);
    let words =
        path.split(['/', '-', '.']).map(|word| word.trim_matches(['{', '}'])).filter(|word| !word.is_empty());
    words.fold(route.method.as_str().to_ascii_lowercase(), |id, word| id + "_" + word)
}

fn tag(route: &Route) -> &'static str {
    match route.action {
        Action::Resource(row, _) => row.name,
        Action::Organisation(_) => "organisations",
        Action::Session(_) => "session",
        Action::Account(_) => "accounts",
        Action::Right(_) => "rights",
        Action::Usage(_) => "usage",
        Action::Enrolment(_) => "enrolments",
        Action::OpenApi => "description",
    }
}

fn security(guard: Guard) -> Value {
    match guard {
        Guard::Open => json!([]),
        Guard::Session => json!([{ "session": [] }]),
        Guard::Signed | Guard::May(..) | Guard::MayPut(_) => json!([{ "token": [] }, { "session": [] }]),
    }
}

fn permission(guard: Guard) -> Option<String> {
    match guard {
        Guard::May(kind, verb) => Some(format!("{kind}.{}", verb.name())),
        Guard::MayPut(kind) => Some(format!("{kind}.create or {kind}.update")),
        Guard::Open | Guard::Signed | Guard::Session => None,
    }
}

fn parameters(route: &Route) -> Vec<Value> {
    let free = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = free
        .map(|name| {
            let pattern = match name {
                "org" => ORGANISATION_PATTERN,
                _ => "^[A-Za-z0-9_][A-Za-z0-9_.:@+-]{0,127}$",
            };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "pattern": pattern } })
        })
        .collect();
    let version = json!({ "name": "If-Match", "in": "header", "required": true,
        "description": "the `ETag` that was read", "schema": { "type": "string", "pattern": "^\"[0-9]{1,19}\"$" } });
    match route.takes {
        Takes::Nothing | Takes::Json(_) | Takes::Whole(_) => {}
        Takes::Part => all.extend([
            json!({ "name": "after", "in": "query", "description": "the `next` of the page before",
                "schema": { "type": "string", "minLength": 1 } }),
            json!({ "name": "limit", "in": "query", "description": "resources of a page at most",
                "schema": { "type": "integer", "minimum": 1, "maximum": PAGE_MAX } }),
        ]),
        Takes::Query(known) => all.extend(known.iter().map(queried)),
        Takes::Version | Takes::Patch | Takes::Changes(_) => all.push(version),
        Takes::Document(_) | Takes::Versioned(_) if route.method != Method::PUT => all.push(version),
        Takes::Document(_) | Takes::Versioned(_) => all.extend([
            json!({ "name": "If-Match", "in": "header", "description": "the `ETag` of what is replaced",
                "schema": { "type": "string", "pattern": "^\"[0-9]{1,19}\"$" } }),
            json!({ "name": "If-None-Match", "in": "header", "description": "`*`: it must not be there yet",
                "schema": { "type": "string", "const": "*" } }),
        ]),
    }
    all
}

fn queried(known: &Queried) -> Value {
    let schema = match known.of {
        Values::Day => json!({ "type": "string", "format": "date" }),
        Values::Words(words) => json!({ "type": "string", "enum": words }),
        Values::Organisation => json!({ "type": "string", "pattern": ORGANISATION_PATTERN }),
        Values::Number(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
    };
    json!({ "name": known.name, "in": "query", "description": known.about, "schema": schema })
}

fn request_body(takes: Takes, generator: &mut SchemaGenerator) -> Option<Value> {
    let (media_type, schema) = match takes {
        Takes::Nothing | Takes::Part | Takes::Query(_) | Takes::Version => return None,
        Takes::Document(row) => ("application/json", row.schema(generator).to_value()),
        Takes::Patch => (
            "application/merge-patch+json",
            json!({ "type": "object", "description": "members to change; `null` takes one away (RFC 7396)" }),
        ),
        Takes::Json(form) | Takes::Versioned(form) | Takes::Whole(form) => {
            ("application/json", written(form, generator))
        }
        Takes::Changes(form) => ("application/merge-patch+json", written(form, generator)),
    };
    Some(json!({ "required": true, "content": { media_type: { "schema": schema } } }))
}

fn written(form: Form, generator: &mut SchemaGenerator) -> Value {
    match form {
        Form::Nothing => json!(true),
        Form::Kind(row) => row.schema(generator).to_value(),
        Form::Kinds(row) => {
            let document = row.schema(generator).to_value();
            page(&resource(&document))
        }
        Form::Of(describe) => describe(generator).to_value(),
        Form::Object => json!({ "type": "object" }),
        Form::Objects => page(&json!({ "type": "object" })),
    }
}

fn resource(document: &Value) -> Value {
    let number = json!({ "type": "integer", "minimum": 1 });
    json!({
        "type": "object",
        "required": ["id", "version", "revision", "document"],
        "properties": { "id": { "type": "string" }, "version": number, "revision": number, "document": document },
    })
}

fn page(item: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": item },
            "next": { "type": ["string", "null"], "description": "`after` of the next page; none: this is the last" },
            "revision": { "type": "integer", "minimum": 0 },
        },
    })
}

fn response(route: &Route, form: Form, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({ "description": "it was done" });
    let Some(members) = response.as_object_mut() else { return response };
    if !matches!(form, Form::Nothing) {
        let content = json!({ "application/json": { "schema": written(form, generator) } });
        members.insert("content".to_owned(), content);
    }
    if matches!(form, Form::Kind(_)) || (matches!(route.takes, Takes::Changes(_) | Takes::Versioned(_))) {
        let tag = json!({ "description": "its version, for `If-Match`", "schema": { "type": "string" } });
        members.insert("headers".to_owned(), json!({ "ETag": tag }));
    }
    response
}

fn problem() -> Value {
    let names: Vec<String> = Name::ALL.iter().map(|name| format!("{NAMES}{}", name.row().1)).collect();
    json!({
        "type": "object",
        "description": "why it was not done (RFC 9457)",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "enum": names },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "what to do" },
            "errors": { "type": "array", "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": { "type": "string", "description": "where in the body (RFC 6901)" },
                    "message": { "type": "string" },
                },
            } },
            "permission": { "type": "string", "description": "the one that is missing" },
            "version": { "type": "integer", "description": "the one that is there" },
        },
    })
}
