//! Which credentials does this list name, and how often was each seen?
//!
//! Two layouts are read, line by line and never as a whole: hashes as Have I Been Pwned publishes them
//! (`SHA1:count`, 40 hexadecimal digits in any case, the count may be missing), and plain text, one credential a line,
//! with a count behind a tab if it has one. A problem names the line, never what stands in it.

use palisade_filters::credint::Key;
use palisade_filters::credint::build::Seen;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Read at once.
const BUFFER_BYTES: usize = 1024 * 1024;
/// A longer line is no credential but another kind of file.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Hexadecimal digits of a SHA-1.
const SHA1_DIGITS: usize = 40;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `SHA1:count`.
    Hashes,
    /// The credential itself.
    Plain,
}

/// Why a list cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// The system refused.
    #[error("cannot read `{0}`: {1}")]
    Read(PathBuf, std::io::Error),
    /// A line is not of its layout.
    #[error("`{0}`, line {1}: {2}")]
    Line(PathBuf, u64, &'static str),
    /// Whoever was told could not take it.
    #[error("cannot write a temporary file: {0}")]
    Write(std::io::Error),
}

/// Opens a list; `-` is standard input.
fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    if path.as_os_str() == "-" { Ok(Box::new(std::io::stdin())) } else { Ok(Box::new(File::open(path)?)) }
}

/// Tells `each` every credential of a list, and returns how many there were.
pub(crate) fn read(
    path: &Path,
    layout: Layout,
    each: &mut dyn FnMut(Seen) -> std::io::Result<()>,
) -> Result<u64, ListError> {
    let fail = |error| ListError::Read(path.to_owned(), error);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, open(path).map_err(fail)?);
    let mut line = Vec::new();
    let mut told = 0;
    for number in 1u64.. {
        line.clear();
        if (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(fail)? == 0 {
            break;
        }
        let wrong = |problem| ListError::Line(path.to_owned(), number, problem);
        if line.len() as u64 == LINE_BYTES_MAX {
            return Err(wrong("longer than 64 KiB; this is no list of credentials"));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            continue;
        }
        let seen = match layout {
            Layout::Hashes => hash(text).map_err(wrong)?,
            Layout::Plain => plain(text),
        };
        each(seen).map_err(ListError::Write)?;
        told += 1;
    }
    Ok(told)
}

fn hash(line: &[u8]) -> Result<Seen, &'static str> {
    let (digits, rest) = line.split_at_checked(SHA1_DIGITS).ok_or("not 40 hexadecimal digits of a SHA-1")?;
    let mut sha1 = [0; SHA1_DIGITS / 2];
    for (byte, [high, low]) in sha1.iter_mut().zip(digits.as_chunks().0) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err("not 40 hexadecimal digits of a SHA-1; plain lists are read with `--plain`");
        };
        *byte = (high << 4 | low) as u8;
    }
    let count = match rest.strip_prefix(b":") {
        Some(count) => number(count.trim_ascii()).ok_or("the count behind the colon is no number")?,
        None if rest.trim_ascii().is_empty() => 1,
        None => return Err("something other than `:count` follows the SHA-1"),
    };
    Ok(Seen { key: Key::of_sha1(sha1), count })
}

fn plain(line: &[u8]) -> Seen {
    let tab = line.iter().rposition(|byte| *byte == b'\t');
    let counted = tab.and_then(|tab| {
        let (credential, count) = line.split_at_checked(tab)?;
        Some((credential, number(count.get(1..)?)?))
    });
    let (credential, count) = counted.unwrap_or((line, 1));
    Seen { key: Key::of(credential), count }
}

/// A count; what passes 32 bits is as good as that, and nothing was seen less than once.
fn number(digits: &[u8]) -> Option<u32> {
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX).max(1))
}

/// Writes the hashes of credentials, one a line, as [`Layout::Hashes`].
pub(crate) fn write_hashes(out: &mut impl Write, hashes: &[[u8; 20]]) -> std::io::Result<()> {
    for sha1 in hashes {
        writeln!(out, "{}:1", palisade_filters::api_key::hex(sha1).to_ascii_uppercase())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, layout: Layout) -> Result<Vec<Seen>, String> {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("list");
        std::fs::write(&path, text).unwrap();
        let mut seen = Vec::new();
        let read = read(&path, layout, &mut |one| {
            seen.push(one);
            Ok(())
        });
        read.map(|_| seen).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "list"))
    }

    #[test]
    fn both_layouts_name_the_same_keys() {
        let hashes = "7C4A8D09CA3762AF61E59520943DC26494F8941B:37359195\r\n\n\
                      5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8\n";
        let plain = "123456\t37359195\r\n\npassword\n";
        assert_eq!(all(hashes, Layout::Hashes).unwrap(), all(plain, Layout::Plain).unwrap());
        assert_eq!(all(hashes, Layout::Hashes).unwrap()[0].count, 37_359_195);
    }

    #[test]
    fn a_tab_without_a_number_and_a_colon_belong_to_the_password() {
        let seen = all("a\tb\n:x:9\n", Layout::Plain).unwrap();
        assert_eq!(seen, [b"a\tb", b":x:9".as_slice()].map(|text| Seen { key: Key::of(text), count: 1 }));
    }

    #[test]
    fn a_problem_names_its_line_and_not_what_stands_there() {
        let sha1 = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";
        for (text, problem) in [
            (format!("{sha1}:2\npassword\n"), "`list`, line 2: not 40 hexadecimal digits of a SHA-1"),
            (format!("{sha1}:many\n"), "`list`, line 1: the count behind the colon is no number"),
            (format!("{sha1},2\n"), "`list`, line 1: something other than `:count` follows the SHA-1"),
            (
                format!("{}:2\n", sha1.replace('5', "g")),
                "`list`, line 1: not 40 hexadecimal digits of a SHA-1; plain lists are read with `--plain`",
            ),
            ("x".repeat(70_000), "`list`, line 1: longer than 64 KiB; this is no list of credentials"),
        ] {
            assert_eq!(all(&text, Layout::Hashes).unwrap_err(), problem);
        }
    }
}
