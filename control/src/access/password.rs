//! Which passwords are taken, and how are they kept?
//!
//! Kept as argon2id (RFC 9106) with 19 MiB, two passes and one lane, OWASP's parameters for it (Password Storage Cheat
//! Sheet), in PHC's form, which holds the parameters: others may come. Taken, by NIST SP 800-63B-4 section 3.1.1: 15
//! characters or more, of any kind, none demanded; not the account's own name; in no list of leaked ones. White space
//! and other letters are as welcome as any; they are compared in the form NFKC, or the same password typed on another
//! machine would be another.
//!
//! A hash takes time and memory on purpose, so no more are made at once than there is room for, and an account that
//! does not exist costs the same as one that does.

use super::Compromised;
use super::error::AccessError;
use crate::store::StoreError;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use std::sync::Arc;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Characters of a password that is the only factor (NIST SP 800-63B-4, 3.1.1.2).
const CHARS_MIN: usize = 15;
/// Bytes of a password: hashing is work.
const BYTES_MAX: usize = 512;
/// Random bits that two equal passwords differ by.
const SALT_BYTES: usize = 16;
/// Hashes that are made at once, each with its memory and a core.
const AT_ONCE: usize = 2;
/// Those that wait for their turn besides; others are told so.
const WAITING: usize = 64;

/// What a hash costs who makes one.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// OWASP's parameters for argon2id with one lane. Everything but tests uses these.
    pub const OWASP: Self = Self { memory_kib: 19 * 1024, passes: 2 };
}

/// Makes and compares hashes.
pub(super) struct Hashing {
    argon2: Argon2<'static>,
    /// What is compared where there is no account.
    nobody: Arc<str>,
    seats: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Hashing {
    pub(super) fn new(cost: Cost) -> Result<Self, AccessError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None);
        let params = params.map_err(|error| AccessError::Internal(format!("argon2: {error}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon2, b"nobody has this one")?.into();
        let (seats, turns) = (Semaphore::new(AT_ONCE + WAITING), Semaphore::new(AT_ONCE));
        Ok(Self { argon2, nobody, seats: Arc::new(seats), turns: Arc::new(turns) })
    }

    /// The hash of a password that was found good.
    pub(super) async fn hash(&self, password: &str) -> Result<String, AccessError> {
        let (argon2, password) = (self.argon2.clone(), normal(password));
        self.in_turn(move || hash(&argon2, password.as_bytes())).await?
    }

    /// Whether a password is that of a hash; without one it is not, which takes as long to find out.
    pub(super) async fn is_right(&self, password: &str, kept: Option<&str>) -> Result<bool, AccessError> {
        let is_somebody = kept.is_some();
        let kept: Arc<str> = kept.map_or_else(|| self.nobody.clone(), Arc::from);
        let argon2 = self.argon2.clone();
        // A longer one is nobody's; it is cut, so that it costs no more than others.
        let fits = password.len() <= BYTES_MAX;
        let password = normal(if fits { password } else { "" });
        let verify = move || {
            let kept = PasswordHash::new(&kept).ok();
            kept.is_some_and(|kept| argon2.verify_password(password.as_bytes(), &kept).is_ok())
        };
        Ok(self.in_turn(verify).await? && is_somebody && fits)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccessError> {
        let _seat = self.seats.try_acquire().map_err(|_| AccessError::Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| AccessError::Busy)?;
        let held = move || {
            // It goes on when its caller left: its turn ends with it.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(held).await.map_err(|_| AccessError::Busy)
    }
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hashing")
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, AccessError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(StoreError::Random)?;
    let hashed = argon2.hash_password_with_salt(password, &salt);
    let hashed = hashed.map_err(|error| AccessError::Internal(format!("argon2: {error}")))?;
    Ok(hashed.to_string())
}

fn normal(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

/// Whether a password may be somebody's.
pub(super) fn check(password: &str, name: &str, is_compromised: &Compromised) -> Result<(), AccessError> {
    let told = |problem: String| Err(AccessError::invalid("/password", problem));
    let chars = normal(password).chars().count();
    if chars < CHARS_MIN {
        return told(format!(
            "a password has {CHARS_MIN} characters or more; four or five words are easy to keep"
        ));
    }
    if password.len() > BYTES_MAX {
        return told(format!("a password has {BYTES_MAX} bytes at most"));
    }
    let (lower, name) = (normal(password).to_lowercase(), name.to_lowercase());
    let person = name.split('@').next().unwrap_or_default();
    let without = |part: &str| if part.is_empty() { lower.clone() } else { lower.replace(part, "") };
    if without(&name).chars().count().min(without(person).chars().count()) < CHARS_MIN / 2 {
        return told("this password is little more than the account's name; choose another".to_owned());
    }
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < 5 {
        return told("this password repeats a few characters; choose another".to_owned());
    }
    if is_compromised(password.as_bytes()) || is_compromised(lower.as_bytes()) {
        return told(
            "this password is in lists of leaked ones, which attackers try first; choose another".to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_leaked() -> Compromised {
        Arc::new(|_| false)
    }

    #[test]
    fn a_password_is_long_and_not_known() {
        let leaked: Compromised = Arc::new(|password| password == b"correct horse battery staple");
        for (password, said) in [
            ("short", "15 characters or more"),
            ("fourteen chars", "15 characters or more"),
            (&"x".repeat(513), "512 bytes at most"),
            ("ann@example.org", "little more than the account's name"),
            ("ANN@example.org!1", "little more than the account's name"),
            ("annannannannannann", "little more than the account's name"),
            ("abababababababababab", "repeats a few characters"),
            ("correct horse battery staple", "lists of leaked ones"),
            ("Correct Horse Battery Staple", "lists of leaked ones"),
        ] {
            let told = check(password, "ann@example.org", &leaked).unwrap_err().to_string();
            assert!(told.contains(said), "{password}: {told}");
            assert!(password.len() < 6 || !told.contains(password), "it is not repeated");
        }
        for good in ["fifteen chars..", "correct horse battery staples", "パスワードは長いほうがよいものです"]
        {
            check(good, "ann@example.org", &leaked).unwrap();
        }
    }

    #[tokio::test]
    async fn a_password_is_compared_as_it_reads_and_nobody_has_any() {
        let hashing = Hashing::new(Cost { memory_kib: 8, passes: 1 }).unwrap();
        let kept = hashing.hash("caf\u{e9} au lait, deux fois").await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{kept}");
        assert!(hashing.is_right("cafe\u{301} au lait, deux fois", Some(&kept)).await.unwrap());
        assert!(!hashing.is_right("cafe au lait, deux fois", Some(&kept)).await.unwrap());
        assert!(!hashing.is_right("nobody has this one", None).await.unwrap());
        assert!(!hashing.is_right("nobody has this one", Some("")).await.unwrap());
        assert!(!hashing.is_right(&"x".repeat(513), Some(&hashing.hash("").await.unwrap())).await.unwrap());
        assert_ne!(hashing.hash("the same").await.unwrap(), hashing.hash("the same").await.unwrap());
        check("fifteen chars..", "", &nothing_leaked()).unwrap();
    }

    #[test]
    fn the_parameters_are_those_that_are_stated() {
        let hashing = Hashing::new(Cost::OWASP).unwrap();
        assert!(hashing.nobody.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashing.nobody);
    }
}
