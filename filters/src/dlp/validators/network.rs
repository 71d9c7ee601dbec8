//! Does this number name a machine or a day? Needs the span; proves ranges. Reserved and documentation
//! addresses are refused, since they identify nobody.

use super::symbols::{all_equal, month_and_day, number};

/// Years that a living person's birth date can have.
const BIRTH_YEARS: std::ops::RangeInclusive<u64> = 1900..=2035;

/// IPv4 in dotted form that is globally routable: none of the special-purpose blocks of RFC 6890 and no
/// documentation block of RFC 5737.
pub(super) fn public_ipv4(span: &[u8]) -> bool {
    let Some([a, b, c, d]) = octets(span) else { return false };
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special && d != 0
}

/// IPv6 of the global unicast block `2000::/3` (RFC 4291 §2.5.4), outside documentation (RFC 3849) and hash
/// identifiers (RFC 7343).
pub(super) fn global_ipv6(span: &[u8]) -> bool {
    let parsed = std::str::from_utf8(span).ok().and_then(|text| text.parse::<std::net::Ipv6Addr>().ok());
    let Some([first, second, ..]) = parsed.map(|address| address.segments()) else { return false };
    let reserved = first == 0x2001 && (second == 0xdb8 || second & 0xfff0 == 0x20);
    first & 0xe000 == 0x2000 && !reserved
}

/// IPv4 of RFC 1918: says something about a network's inside.
pub(super) fn private_ipv4(span: &[u8]) -> bool {
    matches!(octets(span), Some([10, ..] | [172, 16..=31, ..] | [192, 168, ..]))
}

fn octets(span: &[u8]) -> Option<[u8; 4]> {
    let mut out = [0_u8; 4];
    let mut parts = span.split(|byte| *byte == b'.');
    for slot in &mut out {
        let part = parts.next()?;
        let padded = part.len() > 1 && part.starts_with(b"0");
        if padded || part.is_empty() || part.len() > 3 {
            return None;
        }
        let value = part
            .iter()
            .try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))?;
        *slot = u8::try_from(value).ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// A birth date written with numbers in any usual order, or with the name of its month: a day that exists, a
/// year from 1900 on.
pub(super) fn birth_date(span: &[u8]) -> bool {
    let groups = || span.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty());
    if groups().any(|group| group.len() > 4) {
        return false;
    }
    let groups: Vec<u64> =
        groups().map(|group| number(&group.iter().map(|byte| byte - b'0').collect::<Vec<u8>>())).collect();
    match groups.as_slice() {
        [year, month, day] if BIRTH_YEARS.contains(year) => month_and_day(*month, *day),
        [first, second, year] if BIRTH_YEARS.contains(year) || *year < 100 => {
            month_and_day(*first, *second) || month_and_day(*second, *first)
        }
        [day, year] => (1..=31).contains(day) && BIRTH_YEARS.contains(year),
        _ => false,
    }
}

/// An e-mail address that somebody can have: not the login of an SSH clone, no file name behind the `@`, no
/// dot at an edge of the local part (RFC 5321 §4.1.2), not in the domain that never exists (RFC 6761 §6.4).
pub(super) fn email(span: &[u8]) -> bool {
    const NOBODYS: [&[u8]; 13] = [
        b".invalid",
        b".png",
        b".jpg",
        b".jpeg",
        b".gif",
        b".svg",
        b".webp",
        b".js",
        b".css",
        b".ts",
        b".json",
        b".py",
        b".service",
    ];
    let lower = span.to_ascii_lowercase();
    let Some(cut) = lower.iter().position(|byte| *byte == b'@') else { return false };
    let Some((local, domain)) = lower.split_at_checked(cut) else { return false };
    let dotted =
        local.starts_with(b".") || local.ends_with(b".") || local.windows(2).any(|pair| pair == b"..");
    !dotted && local != b"git" && !NOBODYS.iter().any(|ending| domain.ends_with(ending))
}

/// A number that can be somebody's behind its label: six digits or more that are not all the same, no decimal and no
/// date, such as the day on which a card was issued.
pub(super) fn number_of_a_person(span: &[u8]) -> bool {
    let digits: Vec<u8> = span.iter().copied().filter(u8::is_ascii_digit).collect();
    let is_plain = span.len() == digits.len();
    let is_decimal = span.len() == digits.len() + 1 && span.contains(&b'.');
    digits.len() >= 6 && !all_equal(&digits) && !is_decimal && (is_plain || !birth_date(span))
}

/// A telephone number beside a word for one: seven to fifteen digits (ITU-T E.164 §6), and no day, span of years,
/// version or amount, which stand beside such words as often.
pub(super) fn telephone(span: &[u8]) -> bool {
    let digits = span.iter().filter(|byte| byte.is_ascii_digit()).count();
    let groups: Vec<&[u8]> =
        span.split(|byte| !byte.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
    let [first, others @ ..] = groups.as_slice() else { return false };
    let is_year = |group: &&[u8]| group.len() == 4 && (group.starts_with(b"19") || group.starts_with(b"20"));
    let is_day = matches!(others, [month, day] if (first.len(), month.len(), day.len()) == (4, 2, 2));
    let is_span_of_years = groups.len() == 2 && groups.iter().all(is_year);
    let is_dotted = span.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let is_version = is_dotted && (groups.len() == 2 || matches!(groups.len(), 3 | 4) && first.len() < 3);
    let in_thousands = first.len() <= 3 && others.len() > 1 && others.iter().all(|group| group.len() == 3);
    let is_amount = in_thousands && others.ends_with(&[b"000"]);
    let is_other = is_day || is_span_of_years || is_version || is_amount;
    (7..=15).contains(&digits) && !is_other && number_of_a_person(span)
}

/// Vehicle identification number: the ninth symbol checks the others modulo 11 (49 CFR 565.15; ISO 3779).
pub(super) fn vin(span: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |byte: u8| match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => Some(u32::from(digit - b'0')),
        early @ b'A'..=b'H' => Some(u32::from(early - b'A') + 1),
        middle @ (b'J'..=b'N' | b'P' | b'R') => Some(u32::from(middle - b'J') + 1),
        late @ b'S'..=b'Z' => Some(u32::from(late - b'S') + 2),
        _ => None,
    };
    let sum: Option<u32> = span.iter().zip(WEIGHTS).map(|(byte, weight)| Some(value(*byte)? * weight)).sum();
    let check = span.get(8).map(u8::to_ascii_uppercase);
    let expected =
        sum.map(|sum| if sum % 11 == 10 { b'X' } else { u8::try_from(sum % 11).unwrap_or(0) + b'0' });
    span.len() == 17 && check.is_some() && check == expected
}
