//! Is this a secret, or does it only stand where one could? Needs the value; proves a vendor's own checksum
//! or structure where there is one, and for the rest that the value is neither a name, a reference to a
//! variable, nor a placeholder. It does not ask the vendor whether the secret lives.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a JWT header that are decoded; real ones stay far below.
const JWT_HEADER_BYTES_MAX: usize = 512;

/// A value in which at least this share of the bytes are words (in percent) is a name, not a secret.
const WORDS_PERCENT_MAX: usize = 49;

/// The same share for names joined by dots, such as `ed25519.Ed25519PublicKey`.
const DOTTED_WORDS_PERCENT_MAX: usize = 20;

/// From this many changes between letter and digit on, a value is taken for random however it sounds.
const ALTERNATIONS_RANDOM: usize = 4;

/// A longer value may hold the digits in their order and be a secret all the same.
const COUNTED_BYTES_MAX: usize = 20;

/// Words that mark a value as standing in for a secret.
const PLACEHOLDERS: &[&[u8]] = &[
    b"example",
    b"placeholder",
    b"changeme",
    b"change_me",
    b"change-me",
    b"redacted",
    b"your_",
    b"your-",
    b"yoursecret",
    b"yourtoken",
    b"yourkey",
    b"yourapikey",
    b"yourpass",
    b"insert",
    b"dummy",
    b"sample",
    b"xxxx",
    b"****",
    b"..",
    b"todo",
    b"replace",
    b"not-set",
    b"notset",
    b"undefined",
    b"mysecret",
    b"fake",
];

/// Values that stand behind `password =` in forms, manuals and type declarations.
const NO_PASSWORDS: &[&[u8]] = &[
    b"password",
    b"passwd",
    b"passphrase",
    b"pass",
    b"secret",
    b"string",
    b"null",
    b"none",
    b"true",
    b"false",
    b"nil",
    b"required",
    b"optional",
    b"default",
    b"value",
    b"token",
    b"undefined",
    b"text",
    b"hidden",
    b"empty",
    b"unknown",
    b"str",
    b"bool",
    b"user",
    b"username",
    b"input",
    b"prompt",
    b"self",
    b"this",
    b"test",
    b"type",
    b"bytes",
    b"key",
    b"object",
    b"number",
    b"varchar",
    b"invalid",
    b"incorrect",
    b"wrong",
    b"reset",
    b"change",
    b"forgot",
    b"manager",
    b"field",
    b"confirm",
    b"new",
    b"old",
    b"arg",
    b"args",
    b"param",
    b"env",
    b"config",
    b"credentials",
    b"hash",
    b"passwords",
    b"the",
    b"and",
    b"with",
    b"from",
    b"stdin",
    b"encrypted",
    b"plaintext",
    b"char",
    b"const",
];

/// GitHub and npm tokens: the last six symbols are the CRC-32 of the 30 before them, in base 62 (GitHub
/// engineering, "Behind GitHub's new authentication token formats", 2021).
pub(super) fn crc32_base62(span: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((head, check)) = span.len().checked_sub(6).and_then(|cut| span.split_at_checked(cut)) else {
        return false;
    };
    let body =
        head.iter().rposition(|byte| *byte == b'_').and_then(|cut| head.get(cut + 1..)).unwrap_or(head);
    let mut written = 0_u64;
    for byte in check {
        let Some(value) = ALPHABET.iter().position(|known| known == byte) else { return false };
        written = written * 62 + u64::try_from(value).unwrap_or(0);
    }
    written == u64::from(crc32fast::hash(body))
}

/// A token with its vendor's mark: anything but the example of a manual, which says that it is one.
pub(super) fn marked_token(span: &[u8]) -> bool {
    !contains(&span.to_ascii_lowercase(), b"example")
}

/// JSON Web Token: the part before the first dot is base64url of an object that names its algorithm (RFC 7519
/// §5, RFC 7515 §4.1.1).
pub(super) fn jwt(span: &[u8]) -> bool {
    let header = span.split(|byte| *byte == b'.').next().unwrap_or_default();
    if header.len() > JWT_HEADER_BYTES_MAX {
        return false;
    }
    let Ok(object) = URL_SAFE_NO_PAD.decode(header) else { return false };
    let text = object.trim_ascii();
    text.starts_with(b"{") && text.ends_with(b"}") && contains(text, b"\"alg\"")
}

/// A random-looking value: letters and digits mixed, few words, no placeholder, no version, no single-byte
/// filler. Made for values behind `token =`; all digits count from 15 on, all letters only when their case
/// keeps changing.
pub(super) fn opaque(span: &[u8]) -> bool {
    let digits = span.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = span.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let mixed = match (letters, digits) {
        (0, digits) => digits >= 15 && digits == span.len(),
        (letters, 0) => letters >= 20 && 4 * case_changes(span) >= letters,
        (_, 1) => 4 * case_changes(span) >= letters,
        (_, _) => true,
    };
    mixed
        && !redaction_hash(span)
        && distinct(span) >= 6
        && longest_run(span) < 6
        && !version(span)
        && !placeholder(span)
        && !counted(span)
        && !constant_name(span)
        && (random(span) || !wordy(span))
        && !(dotted_name(span) && words_percent(span) > DOTTED_WORDS_PERCENT_MAX)
}

/// As [`opaque`], and letters and digits are both there: for names that hold other things as often as
/// secrets.
pub(super) fn mixed_opaque(span: &[u8]) -> bool {
    opaque(span) && span.iter().any(u8::is_ascii_alphabetic) && random(span)
}

/// A value behind the name of a service and a word for a secret: letters of one case count too, as long as nobody
/// could say them, and digits from twelve on.
pub(super) fn vendor_token(span: &[u8]) -> bool {
    let digits = span.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = span.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let shaped = match (letters, digits) {
        (0, digits) => digits >= 12,
        (letters, 0) => letters >= 16 && (4 * case_changes(span) >= letters || !sayable(span)),
        (_, _) => true,
    };
    shaped
        && !redaction_hash(span)
        && distinct(span) >= 6
        && longest_run(span) < 6
        && !version(span)
        && !placeholder(span)
        && (random(span) || digits * 5 >= span.len() || !wordy(span))
        && !dotted_name(span)
}

/// A password that somebody chose: six bytes or more that are not a placeholder, a type or a reference to a
/// variable; at least one digit or sign, so that plain words of translations do not count.
pub(super) fn password(span: &[u8]) -> bool {
    let letters_only = span
        .iter()
        .all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'/'));
    password_or_word(span) && !letters_only && !numbered_name(span)
}

/// As [`password`], for values without quotes, where code is likelier: a digit beside letters, or a sign that
/// names in programs and paths never have.
pub(super) fn chosen_password(span: &[u8]) -> bool {
    let digits = span.iter().any(u8::is_ascii_digit);
    let letters = span.iter().any(u8::is_ascii_alphabetic);
    let sign = |byte: &u8| matches!(byte, b'!' | b'@' | b'#' | b'&' | b'^' | b'~' | b'?');
    let path = span.contains(&b'/') && wordy(span);
    let looks = (digits && letters)
        || (letters && span.iter().any(sign) && !span.ends_with(b"?") && !span.ends_with(b"!"));
    looks && !path && !version(span) && password(span)
}

/// As [`chosen_password`], for values with the signs that programs are written in, as generators of passwords take
/// them: letters of both cases, a digit and such a sign, that nobody could say, and no call.
pub(super) fn password_with_signs(span: &[u8]) -> bool {
    let holds = |wanted: fn(&u8) -> bool| span.iter().any(wanted);
    let mixed = holds(u8::is_ascii_lowercase) && holds(u8::is_ascii_uppercase) && holds(u8::is_ascii_digit);
    let sign = holds(|byte| b"$%()[]{}<>,;*+=|".contains(byte));
    let called = span.iter().position(|byte| *byte == b'(').filter(|_| span.contains(&b')'));
    let calls = called.is_some_and(|at| at >= 3 && at == name_bytes(span));
    // Sealed by a program, or what a redaction left.
    let is_sealed = span.starts_with(b"ENC[") || span.starts_with(b"[") && span.ends_with(b"]");
    mixed
        && sign
        && !calls
        && !is_sealed
        && !MARKS.iter().any(|mark| contains(span, mark))
        && !wordy(span)
        && !placeholder(span)
}

/// How many bytes of a name of programs a value begins with.
fn name_bytes(span: &[u8]) -> usize {
    span.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')).count()
}

/// `user:password` of a command line: a password that is neither a template nor the manual's word.
pub(super) fn login(span: &[u8]) -> bool {
    let quoted = |byte: &u8| matches!(byte, b'"' | b'\'');
    let bare: Vec<u8> = span.iter().copied().filter(|byte| !quoted(byte)).collect();
    let mut parts = bare.splitn(2, |byte| *byte == b':');
    let user = parts.next().unwrap_or_default();
    let password = parts.next().unwrap_or_default();
    let secret = if password.is_empty() { user } else { password };
    not_template(secret) && password_or_word(secret)
}

/// As [`password`], but a plain word counts too: for places where the rule has seen a user name beside it.
pub(super) fn password_or_word(span: &[u8]) -> bool {
    let lower = span.to_ascii_lowercase();
    let trimmed = lower.trim_ascii_end();
    distinct(trimmed) >= 4
        && !redaction_hash(span)
        && !NO_PASSWORDS.contains(&trimmed)
        && !placeholder(trimmed)
        && !reference(span)
}

/// What may be asked of lists of leaked passwords: anything but a reference, and the words of forms and schemas, which
/// are somebody's password too.
pub(super) fn credential_word(span: &[u8]) -> bool {
    let lower = span.to_ascii_lowercase();
    let end = lower.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
    !NO_PASSWORDS.contains(&lower.get(..end).unwrap_or_default()) && !reference(span)
}

/// The same for tokens and keys, which are not chosen by people: a number behind such a name counts something.
pub(super) fn credential_token(span: &[u8]) -> bool {
    let is_number = |byte: &u8| byte.is_ascii_digit() || b".,:+-".contains(byte);
    !span.iter().all(is_number) && credential_word(span)
}

/// The password of a URL or command line: anything but a template, a variable or a row of one sign.
pub(super) fn not_template(span: &[u8]) -> bool {
    !reference(span) && distinct(span) >= 3 && !contains(&span.to_ascii_lowercase(), b"xxx")
}

/// The password of a URL of any scheme: chosen, and no word of manuals.
pub(super) fn url_password(span: &[u8]) -> bool {
    let letters = span.iter().all(u8::is_ascii_alphabetic);
    let looks = !letters || case_changes(span) >= 2;
    looks && span.len() <= 48 && !span.contains(&b'/') && not_template(span) && password_or_word(span)
}

/// What programs and templates write where a value comes from elsewhere.
const MARKS: &[&[u8]] = &[
    b"${", b"$(", b"{{", b"}}", b"%(", b"<%", b"#{", b"->", b"::", b"()", b"[\"", b"['", b"[:", b"env.",
    b"\\(", b"%s",
];

/// Code and templates name where the value comes from instead of saying it.
fn reference(span: &[u8]) -> bool {
    let opens = |byte: &u8| matches!(byte, b'$' | b'<' | b'{' | b'[' | b'(' | b'%' | b'&' | b'@');
    let variable = span.split_first().is_some_and(|(first, rest)| {
        opens(first)
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-.>}])% ".contains(byte))
            && !(matches!(first, b'@' | b'&') && rest.iter().any(u8::is_ascii_digit))
    });
    variable || masked(span) || MARKS.iter().any(|mark| contains(span, mark)) || dotted_name(span)
}

/// What is left of a value that was replaced by stars: nothing, or its end.
fn masked(span: &[u8]) -> bool {
    let stars = span.iter().take_while(|byte| **byte == b'*').count();
    let rest = span.get(stars..).unwrap_or_default();
    stars > 0 && rest.len() * 3 <= stars && rest.iter().all(u8::is_ascii_alphanumeric)
}

/// `settings.api_key2`: names joined by dots, with no sign that could not stand in a program.
fn dotted_name(span: &[u8]) -> bool {
    let named = |part: &[u8]| {
        part.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    span.contains(&b'.') && span.split(|byte| *byte == b'.').all(named)
}

/// `password2`, `arg1`, `user_pass`: what programs call variables.
fn numbered_name(span: &[u8]) -> bool {
    let lower = span.to_ascii_lowercase();
    let end = lower.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |place| place + 1);
    let stem = lower.get(..end).unwrap_or_default();
    let name = stem.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let underscored = name && stem.contains(&b'_') && wordy(stem);
    underscored || constant_name(span) || NO_PASSWORDS.contains(&stem)
}

/// What others leave behind where they hashed a value: twelve hex digits in lower case.
fn redaction_hash(span: &[u8]) -> bool {
    span.len() == 12 && span.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn placeholder(span: &[u8]) -> bool {
    let lower = span.to_ascii_lowercase();
    PLACEHOLDERS.iter().any(|word| contains(&lower, word))
}

/// `MSV1_0_CREDENTIAL_KEY`: what programs call constants and types of a foreign interface.
fn constant_name(span: &[u8]) -> bool {
    let is_part = |part: &[u8]| part.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let is_word = |part: &[u8]| part.len() >= 4 && part.iter().all(u8::is_ascii_uppercase) && sayable(part);
    let parts: Vec<&[u8]> = span.split(|byte| *byte == b'_').collect();
    parts.len() >= 2 && parts.iter().all(|part| is_part(part)) && parts.iter().any(|part| is_word(part))
}

/// Short, and mostly the digits in their order: typed by somebody who needed something.
fn counted(span: &[u8]) -> bool {
    span.len() <= COUNTED_BYTES_MAX && (contains(span, b"1234567890") || contains(span, b"0123456789"))
}

/// `1.12.0`, `v2.3.4-SNAPSHOT`: numbers with a dot on both sides of one.
fn version(span: &[u8]) -> bool {
    let parts: Vec<&[u8]> = span.split(|byte| *byte == b'.').collect();
    let short_number = |part: &[u8]| (1..=4).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
    parts.len() >= 3 && parts.iter().skip(1).any(|part| short_number(part))
}

/// Too mixed for a name: letters and digits keep alternating, or it is hexadecimal.
fn random(span: &[u8]) -> bool {
    let hex = span.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    hex || alternations(span) >= ALTERNATIONS_RANDOM
}

/// Places where a letter stands beside a digit. Names have few, random text of a mixed alphabet many.
fn alternations(span: &[u8]) -> usize {
    let alternates = |pair: &&[u8]| {
        let digits = pair.iter().filter(|byte| byte.is_ascii_digit()).count();
        digits == 1 && pair.iter().all(u8::is_ascii_alphanumeric)
    };
    span.windows(2).filter(alternates).count()
}

/// Most of the value can be spoken: letters of one case, or capitalised, with vowels spread as words have
/// them.
fn wordy(span: &[u8]) -> bool {
    words_percent(span) > WORDS_PERCENT_MAX
}

fn words_percent(span: &[u8]) -> usize {
    let mut spoken = 0;
    let mut rest = span;
    while let Some((first, tail)) = rest.split_first() {
        let upper = first.is_ascii_uppercase();
        let capital = upper && tail.first().is_some_and(u8::is_ascii_lowercase);
        let same = |byte: &&u8| {
            if upper && !capital { byte.is_ascii_uppercase() } else { byte.is_ascii_lowercase() }
        };
        let length = if first.is_ascii_alphabetic() { 1 + tail.iter().take_while(same).count() } else { 1 };
        let (word, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        spoken += if speakable(word) { word.len() } else { 0 };
        rest = behind;
    }
    (spoken * 100).checked_div(span.len()).unwrap_or(0)
}

/// Four to fourteen letters with a vowel, at most four consonants or three vowels in a row.
fn speakable(word: &[u8]) -> bool {
    (4..=14).contains(&word.len()) && word.first().is_some_and(u8::is_ascii_alphabetic) && sayable(word)
}

/// Vowels are spread as words have them.
fn sayable(word: &[u8]) -> bool {
    let vowel = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let (mut vowels, mut consonants, mut seen) = (0, 0, 0);
    for byte in word {
        (vowels, consonants) = if vowel(byte) { (vowels + 1, 0) } else { (0, consonants + 1) };
        seen += usize::from(vowel(byte));
        if vowels > 3 || consonants > 4 {
            return false;
        }
    }
    seen * 5 >= word.len()
}

fn case_changes(span: &[u8]) -> usize {
    let changes = |pair: &&[u8]| {
        pair.first().map(u8::is_ascii_uppercase) != pair.last().map(u8::is_ascii_uppercase)
            && pair.iter().all(u8::is_ascii_alphabetic)
    };
    span.windows(2).filter(changes).count()
}

fn distinct(span: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in span {
        if let Some(slot) = seen.get_mut(usize::from(*byte)) {
            *slot = true;
        }
    }
    seen.iter().filter(|slot| **slot).count()
}

fn longest_run(span: &[u8]) -> usize {
    span.chunk_by(|left, right| left == right).map(<[u8]>::len).max().unwrap_or(0)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
