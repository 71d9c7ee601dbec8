//! Which texts is the scanner measured with? Clean ones, and such that are built to hurt.
//!
//! All of them are the same in every run. Noise is of a fixed seed, so that nothing in it repeats and no branch is
//! learned by heart.

use crate::corpus;
use palisade_filters::dlp::Scanner;
use std::fmt::Write as _;

pub(super) const KIB: usize = 1024;
/// The length of texts that are built to hurt.
const HURTING_BYTES: usize = 64 * KIB;

/// A sequence that looks like chance (xorshift64*).
struct Noise(u64);

impl Noise {
    fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end
    }

    fn of(&mut self, alphabet: &str, count: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..count).filter_map(|_| alphabet.get(self.below(alphabet.len()))).collect()
    }
}

/// Texts that are built to hurt, by name.
pub(super) fn hurting(scanner: &Scanner) -> Vec<(&'static str, String)> {
    let mut noise = Noise::new();
    let groups = |noise: &mut Noise, digits: usize, between: &str| -> String {
        let group = |_| noise.of("0123456789", digits) + between;
        (0..HURTING_BYTES / (digits + between.len())).map(group).collect()
    };
    let words = ["tax id ", "iban ", "passport number ", "born ", "card "];
    let alphabet = "abcdefghijklmnopqrstuvwxyz";
    let both = alphabet.to_owned() + &alphabet.to_uppercase() + "0123456789";
    vec![
        ("digits only", noise.of("0123456789", HURTING_BYTES)),
        ("digits in groups of three", groups(&mut noise, 3, " ")),
        ("digits in groups of four", groups(&mut noise, 4, " ")),
        ("digits in groups of nine", groups(&mut noise, 9, " ")),
        ("digits in groups of eleven, with commas", groups(&mut noise, 11, ", ")),
        ("numbers behind words of their context", named_numbers(&mut noise, &words)),
        ("card numbers, each valid", (0..4_000).map(|index| corpus::card(index) + " ").collect()),
        ("small letters without a space", noise.of(alphabet, HURTING_BYTES)),
        ("letters and digits without a space", noise.of(&both, HURTING_BYTES)),
        ("base64 of noise", noise.of(&(both.clone() + "+/"), HURTING_BYTES)),
        ("base64 of prose", base64(corpus::prose(HURTING_BYTES / 4 * 3).as_bytes())),
        ("hex of noise", noise.of("0123456789abcdef", HURTING_BYTES)),
        ("at signs", "a@b.".repeat(HURTING_BYTES / 4)),
        ("e-mail addresses", addresses()),
        ("every literal, one after another", literals(scanner, " ")),
        ("every literal, touching", literals(scanner, "")),
        ("every literal, with a long word behind", literals(scanner, "0aZ9bY8cX7dW6eV5fU4gT3hS2 ")),
        ("prose with curly quotes", corpus::prose(HURTING_BYTES).replace(". ", ".” “")),
        ("prose with accents", corpus::prose(HURTING_BYTES).replace('e', "é")),
        ("full-width digits", "４１１１ ".repeat(HURTING_BYTES / 13)),
        ("percent encoding", "%34%31%31%31%20".repeat(HURTING_BYTES / 15)),
        ("quoted-printable", "=34=31=31=31=20".repeat(HURTING_BYTES / 15)),
        ("heads of tokens without an end", "eyJhbGciOiJIUzI1NiJ9.".repeat(HURTING_BYTES / 21)),
    ]
}

fn addresses() -> String {
    let mut text = String::new();
    for at in 0..2_000 {
        let _ = write!(text, "user{at}.name@mail{}.example.org, ", at % 97);
    }
    text
}

fn named_numbers(noise: &mut Noise, words: &[&str]) -> String {
    let mut text = String::with_capacity(HURTING_BYTES + 64);
    while text.len() < HURTING_BYTES {
        text.push_str(words.get(noise.below(words.len())).unwrap_or(&""));
        let digits = 6 + noise.below(10);
        text.push_str(&noise.of("0123456789", digits));
        text.push(' ');
    }
    text
}

/// The literals of all rules, over and over.
fn literals(scanner: &Scanner, between: &str) -> String {
    let literals: Vec<&String> = scanner.documents().iter().flat_map(|rule| &rule.anchor.literals).collect();
    let mut text = String::with_capacity(HURTING_BYTES + 64);
    for literal in literals.iter().cycle() {
        if text.len() >= HURTING_BYTES {
            break;
        }
        text.push_str(literal);
        text.push_str(between);
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() * 4 / 3);
    for [a, b, c] in bytes.as_chunks::<3>().0 {
        let group = u32::from_be_bytes([0, *a, *b, *c]);
        let letters = [18, 12, 6, 0].map(|shift| alphabet.get((group >> shift & 63) as usize));
        text.extend(letters.into_iter().flatten().map(|letter| char::from(*letter)));
    }
    text
}
