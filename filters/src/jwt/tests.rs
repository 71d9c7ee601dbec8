//! The work that is done in vain is real work: its keys are keys.

use super::keys::{KeySet, in_vain};
use crate::documents::issuers::Algorithm;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use serde_json::json;

/// The private key 1, whose public half is the generator itself: the arithmetic is done to its end.
#[test]
fn the_generators_verify_what_their_private_key_signed() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    for (algorithm, kind, width, curve) in [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256, 32, "P-256"),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384, 48, "P-384"),
    ] {
        let mut one = vec![0; width];
        one[width - 1] = 1;
        let generator = super::keys::generator(kind).unwrap();
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &one, generator, &random);
        let pair = pair.expect("the generator is the public half of 1");
        assert_eq!(pair.public_key().as_ref(), generator);
        let (x, y) = generator[1..].split_at(width);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        let set = json!({"keys": [{"kty": "EC", "crv": curve, "x": x, "y": y}]});
        let set = KeySet::read(set.to_string().as_bytes()).unwrap();
        let signature = pair.sign(&random, b"signed").unwrap();
        assert!(set.verify(None, kind, b"signed", signature.as_ref()).is_some());
        assert!(set.verify(None, kind, b"other", signature.as_ref()).is_none());
    }
    for (_, algorithm) in Algorithm::NAMES {
        in_vain(algorithm, b"signed", &[1; 256]);
    }
}
