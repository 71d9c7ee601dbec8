//! What somebody would send who has no right to: forged, foreign, mangled, disguised.

use super::{ACME, KEYS, Keys, OTHER, believed, claims, groups, identify, with, world};
use crate::issuer::{encoded, key_set};
use crate::keys::key;
use crate::memory::policy;
use palisade_filters::Trust;
use palisade_filters::jwt::JWT_BYTES_MAX;
use serde_json::{Value, json};

#[test]
fn every_algorithm_that_fits_a_key_is_believed_with_and_without_the_keys_name() {
    let world = world("");
    let Keys { rsa, p256, p384, ed25519, .. } = &*KEYS;
    for (signer, algorithm) in [
        (rsa, "RS256"),
        (rsa, "RS384"),
        (rsa, "RS512"),
        (rsa, "PS256"),
        (rsa, "PS384"),
        (rsa, "PS512"),
        (p256, "ES256"),
        (p384, "ES384"),
        (ed25519, "EdDSA"),
        (ed25519, "Ed25519"),
    ] {
        for header in [
            json!({"alg": algorithm, "kid": signer.kid}),
            json!({"alg": algorithm, "typ": "at+JWT"}),
            json!({"typ": "JWT", "alg": algorithm, "x5t": "a hint", "cty": "JWT"}),
        ] {
            let caller = believed(&world, &signer.token_as(&header, &claims()));
            let caller = caller.unwrap_or_else(|| panic!("{header} is believed"));
            assert_eq!((&*caller.tenant().id, groups(caller.key())), ("acme", vec!["guests"]));
            assert_eq!(caller.key().user.as_deref(), Some("ada"));
        }
    }
    let token = KEYS.other.token(&with("iss", OTHER));
    assert_eq!(&*believed(&world, &token).unwrap().tenant().id, "other");
}

/// An HMAC with this secret, as those sign who have none of their own.
fn hmac(secret: &[u8], header: &Value) -> String {
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims().to_string()));
    let bits = header["alg"].as_str().unwrap().trim_start_matches("HS");
    let algorithm = match bits {
        "384" => ring::hmac::HMAC_SHA384,
        "512" => ring::hmac::HMAC_SHA512,
        _ => ring::hmac::HMAC_SHA256,
    };
    let made = ring::hmac::sign(&ring::hmac::Key::new(algorithm, secret), signed.as_bytes());
    format!("{signed}.{}", encoded(made.as_ref()))
}

#[test]
fn nobody_signs_without_a_key_or_with_what_is_public() {
    let world = world("");
    let claims = claims().to_string();
    let mut forged = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", "", " none", "null"] {
        let header = json!({"alg": none, "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", encoded(header), encoded(&claims));
        forged.extend([
            format!("{signed}."),
            signed.clone(),
            format!("{signed}.e30"),
            format!("{signed}.AA"),
        ]);
    }
    let jwk = KEYS.rsa.jwk();
    let n = jwk["n"].as_str().unwrap();
    for secret in [jwk.to_string().as_bytes(), n.as_bytes(), key_set(&[&KEYS.rsa]).as_bytes(), b"", b"secret"]
    {
        for algorithm in ["HS256", "HS384", "HS512"] {
            forged.push(hmac(secret, &json!({"alg": algorithm, "kid": "rsa"})));
            forged.push(hmac(secret, &json!({"alg": algorithm})));
        }
        // As if the header were right and the reader would choose by the signature.
        forged.push(hmac(secret, &json!({"alg": "RS256", "kid": "rsa"})));
        forged.push(hmac(secret, &json!({"alg": "ES256", "kid": "p256"})));
    }
    for wrong in ["RS1", "ES256K", "ES512", "A128KW", "dir", "rs256", "RS256 ", "ECDH-ES"] {
        forged.push(KEYS.rsa.token_as(&json!({"alg": wrong, "kid": "rsa"}), &self::claims()));
    }
    for (at, token) in forged.iter().enumerate() {
        assert!(believed(&world, token).is_none(), "{at}: {token}");
    }
}

#[test]
fn a_key_is_used_as_what_it_is_and_by_its_own_issuer_only() {
    let world = world("");
    let Keys { rsa, p256, p384, other, forged, .. } = &*KEYS;
    let claims = claims();
    let jwk = forged.jwk();
    for (what, token) in [
        ("another's key", other.token(&claims)),
        ("a key called like another", forged.token(&claims)),
        ("another's key without its name", other.token_as(&json!({"alg": "ES256"}), &claims)),
        ("a key that is not there", p256.token_as(&json!({"alg": "ES256", "kid": "gone"}), &claims)),
        ("another key's name", p256.token_as(&json!({"alg": "ES256", "kid": "rsa"}), &claims)),
        ("a name in other letters", p256.token_as(&json!({"alg": "ES256", "kid": "P256"}), &claims)),
        ("a name that is none", p256.token_as(&json!({"alg": "ES256", "kid": 7}), &claims)),
        ("another curve's algorithm", p384.token_as(&json!({"alg": "ES256", "kid": "p384"}), &claims)),
        ("RSA's algorithm with a point", p256.token_as(&json!({"alg": "RS256", "kid": "p256"}), &claims)),
        ("one padding called the other", {
            let token = rsa.token_as(&json!({"alg": "PS256", "kid": "rsa"}), &claims);
            let header = encoded(json!({"alg": "RS256", "kid": "rsa"}).to_string());
            format!("{header}.{}", token.split_once('.').unwrap().1)
        }),
        ("its own key in the header", forged.token_as(&json!({"alg": "ES256", "jwk": jwk}), &claims)),
        ("the place of its own keys", {
            let header = json!({"alg": "ES256", "kid": "p256", "jku": "https://evil.example/keys"});
            forged.token_as(&header, &claims)
        }),
        ("the place of its own certificate", {
            let header = json!({"alg": "ES256", "x5u": "https://evil.example/x", "x5c": ["MII="]});
            forged.token_as(&header, &claims)
        }),
        ("a path as a name", p256.token_as(&json!({"alg": "ES256", "kid": "../../dev/null"}), &claims)),
        ("A's name with B's key", other.token(&with("iss", ACME))),
        ("B's name with A's key", p256.token(&with("iss", OTHER))),
        ("B's name with A's key, unnamed", p256.token_as(&json!({"alg": "ES256"}), &with("iss", OTHER))),
    ] {
        assert!(believed(&world, &token).is_none(), "{what}");
    }
    // The same hints beside a right signature are not even read.
    let header = json!({"alg": "ES256", "kid": "p256", "jku": "https://evil.example/", "jwk": jwk, "x5u": 1});
    assert!(believed(&world, &p256.token_as(&header, &claims)).is_some());
}

/// Headers that say what is not done here, twice, or nothing.
const HEADERS: [&str; 14] = [
    r#"{"alg":"ES256","kid":"p256","crit":[]}"#,
    r#"{"alg":"ES256","kid":"p256","crit":["exp"],"exp":1}"#,
    r#"{"alg":"ES256","kid":"p256","b64":true}"#,
    r#"{"alg":"ES256","kid":"p256","zip":"DEF"}"#,
    r#"{"alg":"ES256","kid":"p256","enc":"A128GCM"}"#,
    r#"{"alg":"ES256","kid":"p256","typ":"JOSE"}"#,
    r#"{"alg":"ES256","kid":"p256","typ":"dpop+jwt"}"#,
    r#"{"alg":"ES256","kid":"p256","typ":1}"#,
    r#"{"alg":"none","alg":"ES256","kid":"p256"}"#,
    r#"{"alg":"ES256","kid":"p256","kid":"p256"}"#,
    r#"{"alg":["ES256"],"kid":"p256"}"#,
    r#"{"Alg":"ES256","kid":"p256"}"#,
    r#"{"kid":"p256"}"#,
    r#""ES256""#,
];

#[test]
fn a_jwt_is_read_in_one_way_or_not_at_all() {
    let world = world("");
    let signer = &KEYS.p256;
    let (header, body) = (json!({"alg": "ES256", "kid": "p256"}).to_string(), claims().to_string());
    let good = signer.token_of(&header, &body);
    assert!(believed(&world, &good).is_some());
    let twice = |member: &str| format!("{{{member},{}", &body[1..]);
    let mut refused: Vec<(String, String)> = [
        twice(&format!("\"iss\":\"{ACME}\"")),
        twice("\"aud\":\"palisade\""),
        twice("\"exp\":1"),
        twice("\"\\u0065xp\":9999999999"),
        twice("\"sub\":\"ada\""),
        twice("\"x\":{\"y\":1,\"y\":2}"),
        format!("{body} {{}}"),
        format!("[{body}]"),
        format!("\u{feff}{body}"),
        body.replace("ada", "\\ud800"),
        body.replace("\"ada\"", "'ada'"),
        "null".to_owned(),
        "\"\"".to_owned(),
    ]
    .into_iter()
    .map(|claims| (claims.clone(), signer.token_of(&header, &claims)))
    .collect();
    for header in HEADERS {
        refused.push((header.to_owned(), signer.token_of(header, &body)));
    }
    let [head, middle, tail]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let spare = format!("{head}.{middle}.{}", &tail[..tail.len() - 1]);
    let last = tail.chars().last().unwrap();
    // The last character of 64 bytes holds four bits that mean nothing: the other fifteen spell the same bytes.
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for letter in letters.chars().filter(|letter| *letter != last) {
        refused.push(("other bits at the end".to_owned(), format!("{spare}{letter}")));
    }
    for other in [
        format!("{good}="),
        format!("{head}=.{middle}.{tail}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{tail}"),
        format!("{head}..{tail}"),
        format!("{head}.{middle}"),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{head}.{middle}\n.{tail}"),
        good.replace('-', "+").replace('_', "/") + "+",
        format!("Bearer {good}"),
        format!("{{\"payload\":\"{middle}\",\"protected\":\"{head}\",\"signature\":\"{tail}\"}}"),
        "..".to_owned(),
        ".".repeat(JWT_BYTES_MAX),
    ] {
        refused.push(("another form".to_owned(), other));
    }
    for (what, token) in refused {
        assert!(believed(&world, &token).is_none(), "{what}: {token}");
    }
}

#[test]
fn a_jwt_of_any_length_is_believed_up_to_the_most_that_is_read() {
    let world = world("");
    let of = |length: usize| KEYS.p256.token(&with("padding", "a".repeat(length)));
    let room = JWT_BYTES_MAX - of(1).len();
    let fits = of(room * 3 / 4 - 8);
    assert!(fits.len() <= JWT_BYTES_MAX && believed(&world, &fits).is_some());
    let huge = of(room);
    assert!(huge.len() > JWT_BYTES_MAX && believed(&world, &huge).is_none());
    let mut many: Vec<String> = (0..900).map(|n| format!("app-{n}")).collect();
    assert!(believed(&world, &KEYS.p256.token(&with("aud", many.clone()))).is_none());
    many.push("palisade".to_owned());
    assert!(believed(&world, &KEYS.p256.token(&with("aud", many))).is_some());
    let deep = with("deep", Value::Null)
        .to_string()
        .replace("\"sub\"", &format!("\"deep\":{}1{},\"sub\"", "[".repeat(200), "]".repeat(200)));
    assert!(believed(&world, &KEYS.p256.token_of(r#"{"alg":"ES256"}"#, &deep)).is_none());
}

#[test]
fn no_byte_of_a_jwt_can_be_another_one() {
    let world = world("");
    for signer in [&KEYS.rsa, &KEYS.p256, &KEYS.p384, &KEYS.ed25519] {
        let token = signer.token(&claims());
        // What was verified before must not make another one pass.
        let trust = Trust::default();
        assert!(identify(&world, &trust, &[&token]).is_ok() && identify(&world, &trust, &[&token]).is_ok());
        for at in 0..token.len() {
            let was = token.as_bytes()[at];
            for by in
                [was ^ 1, was ^ 2, was ^ 0x20, b'A', b'.', b'=', b'_'].into_iter().filter(|by| *by != was)
            {
                let mut bytes = token.clone().into_bytes();
                bytes[at] = by;
                let Ok(other) = String::from_utf8(bytes) else { continue };
                assert!(identify(&world, &trust, &[&other]).is_err(), "{at}: {other}");
            }
            assert!(identify(&world, &trust, &[&token[..at]]).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn there_is_one_credential_and_a_key_is_no_jwt() {
    let world = world("");
    let (token, own) = (KEYS.p256.token(&claims()), key("acme").secret);
    assert!(believed(&world, &own).is_some_and(|caller| caller.key().bearer.is_none()));
    for credentials in
        [&[&*token, &own][..], &[&own, &token], &[&token, &token], &[&token, ""], &["", &token], &[]]
    {
        assert!(identify(&world, &Trust::default(), credentials).is_err(), "{credentials:?}");
    }
    // A key in the shape of a JWT, and a JWT in the shape of a key.
    let [head, middle, tail]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (id, secret) = own.rsplit_once('_').unwrap();
    for mixed in [
        format!("{own}.{middle}.{tail}"),
        format!("{head}.{middle}.{own}"),
        format!("{own}..{}", ""),
        format!("{id}.{secret}."),
        format!("{}.{}.{}", encoded(&own), middle, tail),
        format!("pk_live_{token}"),
        format!("{id}_{token}"),
        token.replace('.', "_"),
        format!("{own}.{token}"),
    ] {
        assert!(believed(&world, &mixed).is_none(), "{mixed}");
    }
    // A user who is called like a key's id has nothing of that key.
    let key_id = believed(&world, &own).unwrap().key().id.to_string();
    let caller = believed(&world, &KEYS.p256.token(&with("sub", key_id.as_str()))).unwrap();
    assert_ne!(*caller.key().id, *key_id);
    assert_eq!(groups(caller.key()), ["guests"]);
}

#[test]
fn a_jwt_for_two_organisations_is_for_neither() {
    let keys = key_set(&[&KEYS.p256]);
    let document = |id: &str, audience: &str| {
        format!(
            "id = \"{id}\"\n[[jwt_issuers]]\nissuer = \"{ACME}\"\naudience = \"{audience}\"\njwks = '{keys}'\n"
        )
    };
    let world = policy("", &[&document("a", "one"), &document("b", "two")]);
    let of = |audience: Value| {
        let caller = believed(&world, &KEYS.p256.token(&with("aud", audience)));
        caller.map(|caller| caller.tenant().id.to_string())
    };
    assert_eq!(of(json!("one")).as_deref(), Some("a"));
    assert_eq!(of(json!(["two", "three"])).as_deref(), Some("b"));
    assert_eq!(of(json!(["one", "two"])), None);
    assert_eq!(of(json!(["one", "one"])).as_deref(), Some("a"));
}
