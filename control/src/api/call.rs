//! What does a request to the API say, before anybody asks who it is? Its path, its query, its preconditions.
//!
//! Needs a head as it came. Nothing here is repaired: a query that is not known, a precondition that cannot be meant
//! and a version that is none are refused.

use super::problem::{Name, Problem};
use crate::resources::Expected;
use crate::store::ResourceId;
use core::net::IpAddr;
use http::{HeaderMap, Method};
use std::time::SystemTime;

/// Resources of one page, if it is not said.
const PAGE_DEFAULT: usize = 100;
/// And at most.
pub(super) const PAGE_MAX: usize = 1_000;
/// What we call our cookie. The prefix binds it to this host, to TLS and to no domain (RFC 6265bis §4.1.3.2).
pub(super) const COOKIE: &str = "__Host-palisade";

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Path and query, as they came.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Who sends it.
    pub address: IpAddr,
    /// When it came.
    pub now: SystemTime,
}

/// What credentials a head brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential<'h> {
    Nobody,
    Cookie(&'h str),
    Bearer(&'h str),
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) after: Option<ResourceId>,
    pub(super) most: usize,
}

impl Part {
    /// What it comes behind, as text.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_ref().map(ResourceId::as_str)
    }
}

impl Head {
    /// The path, without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header that stands there once.
    fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::new(
                Name::BadRequest,
                format!("the header `{name}` is there twice; send one"),
            ));
        }
        let unreadable = |_| Problem::new(Name::BadRequest, format!("the header `{name}` is not plain text"));
        first.map(|value| value.to_str().map_err(unreadable)).transpose()
    }

    /// Who it says that it is: one answer, or none at all.
    pub(super) fn credential(&self) -> Result<Credential<'_>, Problem> {
        let bearer = match self.header("authorization")? {
            None => None,
            Some(text) => Some(bearer(text).ok_or_else(|| {
                Problem::unauthenticated(
                    "`Authorization` is not `Bearer` and a token; make one under `tokens`",
                )
            })?),
        };
        let mut cookies = self.headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
        let pairs =
            cookies.by_ref().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let ours: Vec<&str> = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value).collect();
        match (bearer, ours.as_slice()) {
            (None, []) => Ok(Credential::Nobody),
            (Some(token), []) => Ok(Credential::Bearer(token)),
            (None, [cookie]) => Ok(Credential::Cookie(cookie)),
            (_, _) => Err(Problem::unauthenticated("there is more than one credential; send one")),
        }
    }

    /// The token that shows that a page of ours sent this, and not somebody else's with our cookie.
    pub(super) fn csrf(&self) -> &str {
        self.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What must hold of the resource for this to be done.
    pub(super) fn expected(&self) -> Result<Option<Expected>, Problem> {
        let refuse = |detail: &str| Err(Problem::new(Name::BadRequest, detail));
        match (self.header("if-match")?, self.header("if-none-match")?) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => refuse("`If-Match` and `If-None-Match` exclude each other; send one"),
            (None, Some(text)) if text.trim() == "*" => Ok(Some(Expected::New)),
            (None, Some(_)) => refuse("only `If-None-Match: *` can be meant here: it must not be there yet"),
            (Some(text), None) => match tag(text) {
                Some(tag) => match version(tag) {
                    Some(version) => Ok(Some(Expected::Version(version))),
                    // A tag that we never gave is no version that there is.
                    None => Err(Problem::new(Name::Stale, "that version was never there; read it again")),
                },
                None => refuse("`If-Match` is the `ETag` that was read, such as `\"7\"`, and no other form"),
            },
        }
    }

    /// Whether whoever reads has this version already.
    pub(super) fn has(&self, version: u64) -> bool {
        let lines = self.headers.get_all("if-none-match").iter().filter_map(|line| line.to_str().ok());
        let mut tags = lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|known| known == "*" || tag(known).and_then(self::version) == Some(version))
    }

    /// The media type of the body, without its parameters.
    pub(super) fn media_type(&self) -> Result<Option<String>, Problem> {
        if self.headers.contains_key("content-encoding") {
            return Err(Problem::new(
                Name::MediaType,
                "bodies are read as they are; leave out `Content-Encoding`",
            ));
        }
        let Some(text) = self.header("content-type")? else { return Ok(None) };
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let parameters = parameters.trim().to_ascii_lowercase();
        if !["", "charset=utf-8", "charset=\"utf-8\""].contains(&parameters.as_str()) {
            return Err(Problem::new(
                Name::MediaType,
                "JSON is UTF-8; leave out the parameters of `Content-Type`",
            ));
        }
        Ok(Some(essence.trim().to_ascii_lowercase()))
    }

    /// The query, of which only these names are known.
    pub(super) fn queried(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let refuse = |detail: String| Problem::new(Name::BadRequest, detail);
        let mut found: Vec<(String, String)> = Vec::new();
        for pair in self.query().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return Err(refuse("the query is not percent-encoded UTF-8".to_owned()));
            };
            if !known.contains(&name.as_str()) {
                let known =
                    if known.is_empty() { "none".to_owned() } else { format!("`{}`", known.join("`, `")) };
                return Err(refuse(format!("the query has a name that is not known here; known: {known}")));
            }
            if found.iter().any(|(other, _)| *other == name) {
                return Err(refuse(format!("`{name}` stands in the query twice; write it once")));
            }
            found.push((name, value));
        }
        Ok(found)
    }

    /// Which part of a list is asked for.
    pub(super) fn part(&self) -> Result<Part, Problem> {
        let mut part = Part { after: None, most: PAGE_DEFAULT };
        for (name, value) in self.queried(&["after", "limit"])? {
            let refuse = |detail: String| Problem::new(Name::BadRequest, detail);
            if name == "after" {
                let after = ResourceId::new(&value);
                let after =
                    after.map_err(|_| refuse("`after` is the `next` of the page before".to_owned()))?;
                part.after = Some(after);
            } else {
                let most = value.parse().ok().filter(|most| (1..=PAGE_MAX).contains(most));
                part.most = most.ok_or_else(|| refuse(format!("`limit` lies between 1 and {PAGE_MAX}")))?;
            }
        }
        Ok(part)
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What stands between the quotes of a strong entity tag.
fn tag(text: &str) -> Option<&str> {
    text.trim().strip_prefix('"')?.strip_suffix('"').filter(|tag| !tag.contains('"'))
}

/// The version that a tag stands for. Tags are compared letter by letter (RFC 9110, 8.8.3.2): `01` is none of ours.
fn version(tag: &str) -> Option<u64> {
    tag.parse().ok().filter(|version: &u64| version.to_string() == tag)
}

/// Undoes percent-encoding (RFC 3986 §2.1).
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let [high, low] = digits else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn head(target: &str, headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        let address = IpAddr::from([127, 0, 0, 1]);
        Head {
            method: Method::GET,
            target: target.to_owned(),
            headers: all,
            address,
            now: SystemTime::UNIX_EPOCH,
        }
    }

    fn status<T>(result: Result<T, Problem>) -> u16 {
        result.err().map_or(200, |problem| problem.name.row().0)
    }

    #[test]
    fn one_credential_or_none() {
        let of = |headers: &[(&str, &str)]| format!("{:?}", head("/", headers).credential().ok());
        assert_eq!(of(&[]), "Some(Nobody)");
        assert_eq!(of(&[("authorization", "bearer abc")]), "Some(Bearer(\"abc\"))");
        assert_eq!(of(&[("cookie", "a=b; __Host-palisade=c; d=e")]), "Some(Cookie(\"c\"))");
        assert_eq!(of(&[("cookie", "palisade=c"), ("x-api-key", "k")]), "Some(Nobody)");
        for headers in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")][..],
            &[("authorization", "Bearer a"), ("cookie", "__Host-palisade=c")],
            &[("cookie", "__Host-palisade=c"), ("cookie", "__Host-palisade=d")],
            &[("authorization", "Basic abc")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer")],
        ] {
            assert_eq!(of(headers), "None", "{headers:?}");
        }
    }

    #[test]
    fn a_precondition_says_one_thing() {
        let of = |headers: &[(&str, &str)]| head("/", headers).expected();
        assert!(of(&[]).unwrap().is_none());
        assert!(matches!(of(&[("if-match", "\"7\"")]), Ok(Some(Expected::Version(7)))));
        assert!(matches!(of(&[("if-none-match", "*")]), Ok(Some(Expected::New))));
        for (value, expected) in [
            ("7", 400),
            ("W/\"7\"", 400),
            ("*", 400),
            ("\"1\", \"2\"", 400),
            ("\"x\"", 412),
            ("\"-1\"", 412),
            ("\"07\"", 412),
            ("\"+7\"", 412),
        ] {
            assert_eq!(status(of(&[("if-match", value)])), expected, "{value}");
        }
        assert_eq!(status(of(&[("if-none-match", "\"7\"")])), 400);
        assert_eq!(status(of(&[("if-none-match", "*"), ("if-match", "\"7\"")])), 400);
        let has = |value: &str| head("/", &[("if-none-match", value)]).has(7);
        assert!(
            has("\"7\"") && has("\"1\", W/\"7\"") && has("*") && !has("\"8\"") && !has("7") && !has("\"07\"")
        );
    }

    #[test]
    fn what_is_not_known_of_a_query_is_refused() {
        let part = |query: &str| head(&format!("/x{query}"), &[]).part();
        assert_eq!(part("").unwrap(), Part { after: None, most: PAGE_DEFAULT });
        let after = ResourceId::new("ann@example.org").ok();
        assert_eq!(part("?limit=5&after=ann%40example.org").unwrap(), Part { after, most: 5 });
        for query in [
            "?limit=0",
            "?limit=1001",
            "?limit=x",
            "?limit=",
            "?after=",
            "?after=..",
            "?a=b",
            "?limit=1&limit=2",
            "?%ff=1",
        ] {
            assert_eq!(status(part(query)), 400, "{query}");
        }
    }

    #[test]
    fn bodies_are_plain_json() {
        let of = |value: &str| head("/", &[("content-type", value)]).media_type().ok().flatten();
        assert_eq!(of("Application/JSON; charset=UTF-8").as_deref(), Some("application/json"));
        assert_eq!(of("application/json; charset=latin1"), None);
        assert_eq!(status(head("/", &[("content-encoding", "gzip")]).media_type()), 415);
    }

    #[test]
    fn percent_encoding_is_undone_once() {
        for (text, plain) in [
            ("a", Some("a")),
            ("a%40b", Some("a@b")),
            ("%2525", Some("%25")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), plain, "{text}");
        }
    }
}
