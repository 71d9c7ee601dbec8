//! Is this the code that the authenticator shows now? RFC 6238 over RFC 4226: HMAC-SHA-1, 30 seconds, six digits.
//!
//! SHA-1 and these figures are what authenticators take; as a keyed hash it is not broken. One step before and after is
//! taken too, for clocks that differ. Which step a code is of is told, so that nobody takes it twice.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Seconds for which a code is shown.
pub(super) const STEP_SECONDS: u64 = 30;
/// Bytes of a secret: as many as the hash has (RFC 4226, section 4).
pub(super) const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;
/// Steps before and after that are taken (RFC 6238, section 5.2).
const SKEW: u64 = 1;

/// The step that a code is of, if it is one of now.
pub(super) fn step_of(secret: &[u8], code: &str, now_seconds: u64) -> Option<u64> {
    let now = now_seconds / STEP_SECONDS;
    (now.saturating_sub(SKEW)..=now + SKEW)
        .rfind(|step| code_at(secret, *step).as_bytes().ct_eq(code.as_bytes()).into())
}

/// RFC 4226, section 5.3.
pub(super) fn code_at(secret: &[u8], step: u64) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash.last().copied().unwrap_or(0) & 0xf);
    let four =
        hash.get(offset..offset + 4).and_then(|four| <[u8; 4]>::try_from(four).ok()).unwrap_or_default();
    let number = u32::from_be_bytes(four) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 10_u32.pow(DIGITS as u32))
}

/// A secret as people type it, and as authenticators read it from a picture.
pub(super) fn shown(secret: &[u8], whose: &str) -> (String, String) {
    let text = data_encoding::BASE32_NOPAD.encode(secret);
    // The names of accounts and organisations need no escapes but these.
    let whose = whose.replace('@', "%40").replace('+', "%2B").replace(':', "%3A").replace('/', "%2F");
    let uri = format!(
        "otpauth://totp/Palisade:{whose}?secret={text}&issuer=Palisade&algorithm=SHA1&digits=6&period=30"
    );
    (text, uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, and RFC 4226, appendix D: the same secret; the last six of eight digits.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_standards() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(SECRET, seconds / STEP_SECONDS), code);
            assert_eq!(step_of(SECRET, code, seconds), Some(seconds / STEP_SECONDS));
        }
        let counted = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583"];
        for (step, code) in counted.into_iter().enumerate() {
            assert_eq!(code_at(SECRET, step as u64), code);
        }
    }

    #[test]
    fn a_step_before_and_after_is_taken_and_no_other() {
        let code = code_at(SECRET, 1000);
        for (now, taken) in [(998, false), (999, true), (1000, true), (1001, true), (1002, false)] {
            assert_eq!(step_of(SECRET, &code, now * STEP_SECONDS).is_some(), taken, "{now}");
        }
        for code in ["", "000000", "28708", "2870820", " 287082", "287082\0"] {
            assert_eq!(step_of(SECRET, code, 59), None, "{code:?}");
        }
    }

    #[test]
    fn a_secret_is_shown_as_authenticators_read_it() {
        let (text, uri) = shown(SECRET, "acme:ann@example.org");
        assert_eq!(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(uri.starts_with("otpauth://totp/Palisade:acme%3Aann%40example.org?secret=GEZDGNBV"), "{uri}");
    }
}
