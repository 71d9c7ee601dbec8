//! An issuer of JWTs: keys, signatures, and a small HTTPS server that publishes the keys, or does not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair, RsaPublicKeyComponents};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A private key of RSA, in PKCS #1. It signs nothing outside of these tests.
const RSA: &[u8] = include_bytes!("issuer/rsa.der");

/// A key of an issuer.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Bytes as JWTs have them.
pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// The key of RSA, always the same one.
    pub(crate) fn rsa(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Rsa(Box::new(RsaKeyPair::from_der(RSA).unwrap())) }
    }

    /// A new key on P-256.
    pub(crate) fn p256(kid: &str) -> Self {
        let pair = Pair::P256(Box::new(curve(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)));
        Self { kid: kid.to_owned(), pair }
    }

    /// A new key on P-384.
    pub(crate) fn p384(kid: &str) -> Self {
        let pair = Pair::P384(Box::new(curve(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)));
        Self { kid: kid.to_owned(), pair }
    }

    /// A new key of Ed25519.
    pub(crate) fn ed25519(kid: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Pair::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()));
        Self { kid: kid.to_owned(), pair }
    }

    /// Its public half, as the issuer publishes it.
    pub(crate) fn jwk(&self) -> Value {
        let point = |pair: &EcdsaKeyPair, curve: &str| {
            let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
            json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)})
        };
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encoded(public.n), "e": encoded(public.e)})
            }
            Pair::P256(pair) => point(pair, "P-256"),
            Pair::P384(pair) => point(pair, "P-384"),
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The algorithm that it signs with if nothing else is said.
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// A JWT with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_as(&json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// A JWT with this header too.
    pub(crate) fn token_as(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A JWT of these very texts, signed as its header says, or as the key does by itself.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let header: Value = serde_json::from_str(header).unwrap_or_default();
        let algorithm = header["alg"].as_str().unwrap_or_default();
        format!("{signed}.{}", encoded(self.sign(algorithm, signed.as_bytes())))
    }

    /// A signature.
    pub(crate) fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut made = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, signed, &mut made).unwrap();
                made
            }
            Pair::P256(pair) | Pair::P384(pair) => pair.sign(&random, signed).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(signed).as_ref().to_vec(),
        }
    }
}

fn curve(algorithm: &'static signature::EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap()
}

/// The set of these keys.
pub(crate) fn key_set(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// The status of a server that says nothing, and does not hang up.
const SILENCE: u16 = 0;

/// What a server says at every path that nothing else is said of.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A small HTTPS server.
pub(crate) struct Published {
    pub(crate) address: SocketAddr,
    /// The certificate of the authority that its own was made by.
    pub(crate) authority: String,
    inside: Arc<Mutex<Inside>>,
}

struct Inside {
    says: Says,
    /// And at some paths.
    says_at: BTreeMap<String, Says>,
    asked: Vec<String>,
}

impl Published {
    /// Listens on a free port until the test process ends, and publishes these keys.
    pub(crate) fn start(keys: &str) -> Self {
        let (config, authority) = certified();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let says = Says { status: 200, head: String::new(), body: keys.to_owned() };
        let inside = Arc::new(Mutex::new(Inside { says, says_at: BTreeMap::new(), asked: Vec::new() }));
        let shared = inside.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, config) = (shared.clone(), config.clone());
                std::thread::spawn(move || attend(stream, config, &shared));
            }
        });
        Self { address, authority, inside }
    }

    /// From now on it says this.
    pub(crate) fn say(&self, status: u16, head: &str, body: &str) {
        self.inside.lock().unwrap().says = Says { status, head: head.to_owned(), body: body.to_owned() };
    }

    /// From now on it says this at this path.
    pub(crate) fn say_at(&self, path: &str, status: u16, head: &str, body: &str) {
        let says = Says { status, head: head.to_owned(), body: body.to_owned() };
        self.inside.lock().unwrap().says_at.insert(path.to_owned(), says);
    }

    /// From now on it hears who asks at this path, and never answers.
    pub(crate) fn be_silent_at(&self, path: &str) {
        self.say_at(path, SILENCE, "", "");
    }

    /// What it was asked for, oldest first.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.inside.lock().unwrap().asked.clone()
    }

    /// Its name as an issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("https://{}/realm", self.address)
    }
}

/// A certificate for this machine, by an authority of its own.
fn certified() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority for tests");
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap();
    (Arc::new(config), authority)
}

/// One request, one answer, and the connection's end. Whoever asked may leave at any time.
fn attend(stream: TcpStream, config: Arc<ServerConfig>, inside: &Mutex<Inside>) {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut request), Ok(1..)) {
            return;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let says = {
        let mut inside = inside.lock().unwrap();
        let says = inside.says_at.get(&path).unwrap_or(&inside.says).clone();
        inside.asked.push(path);
        says
    };
    let Says { status, head, body } = says;
    if status == SILENCE {
        // Until whoever asked has had enough.
        let _ = stream.read_line(&mut request);
        return;
    }
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{head}\r\n{body}");
    let _ = stream.get_mut().write_all(answer.as_bytes());
    stream.get_mut().conn.send_close_notify();
    let _ = stream.get_mut().flush();
}
