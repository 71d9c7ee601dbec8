//! Does a name fit a pattern, and are two names the same? `*` stands for any part of a name; keys are compared as the
//! most lenient parser would.

/// Whether `name` fits `pattern`, in which each `*` stands for any number of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        match name.find(part) {
            Some(at) => name = name.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

/// A hash of a key with its case folded, so that `Model` and `model` collide. Equal hashes are refused as equal
/// keys: with 64 bits that costs an honest caller one request in 10^15.
pub(crate) fn folded_hash(name: &[u8]) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    if name.is_ascii() {
        return name.iter().map(u8::to_ascii_lowercase).fold(0xcbf2_9ce4_8422_2325, fold);
    }
    folded(name).bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// A name in lower case, as the most lenient parsers compare it: the long s counts as an s (Unicode simple folding).
fn folded(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase().replace('\u{17f}', "s")
}

/// Whether a lenient parser takes a key for this name, which is in lower case.
pub(crate) fn is_same_name(key: &[u8], name: &str) -> bool {
    if key.is_ascii() { key.eq_ignore_ascii_case(name.as_bytes()) } else { folded(key) == name }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_part() {
        for (pattern, name) in [("a", "a"), ("*", ""), ("gpt-*", "gpt-4o"), ("*/x*z", "p/xyz"), ("a*a", "aa")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "b"), ("gpt-*", "o1"), ("a*a", "a"), ("*x", "y"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
