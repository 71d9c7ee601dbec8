//! Does a run of base64 or hex go on in the next line?
//!
//! Mail, PEM and YAML break what is encoded into lines. Where a line that hides text ends, the end waits for what
//! follows: if the next line begins with what may belong to the run, both are one. So what is cut by the end of a line
//! is whole again. Lines that say something each stay readable one by one, too.

use super::runs::{self, LONG_RUN_BYTES, RUN_BYTES_MAX};
use super::{Runs, SHADOW_GAP, Shadow};

/// The end of a line, and what the next one is indented by.
const JOINT_BYTES_MAX: usize = 18;

/// The end of a line that a run may go on behind: each byte, unless it is not seen, with how many bytes of the text it
/// comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Joint {
    bytes: Vec<(Option<u8>, usize)>,
}

impl Joint {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of the text that it comes from.
    pub(super) fn source_bytes(&self) -> usize {
        self.bytes.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether it goes on with this byte: a return, the end of the line, blanks.
    fn may_hold(&self, byte: u8) -> bool {
        let mut seen = self.bytes.iter().filter_map(|(byte, _)| *byte);
        let has_end = seen.clone().any(|byte| byte == b'\n');
        match byte {
            b'\r' => self.is_empty(),
            b'\n' => seen.all(|byte| byte == b'\r'),
            b' ' | b'\t' => has_end && self.bytes.len() < JOINT_BYTES_MAX,
            _ => false,
        }
    }
}

impl Shadow {
    /// Whether the run at hand may go on in the next line, if this is what follows it.
    pub(super) fn may_join(&self, next: Option<u8>) -> bool {
        let is_end = matches!(next, Some(b'\r' | b'\n'));
        if !is_end || self.padding > 0 || self.runs == Runs::Kept || self.run >= RUN_BYTES_MAX {
            return false;
        }
        let line = self.text.get(self.text.len() - self.run..).unwrap_or_default();
        self.is_joined || (line.len() >= LONG_RUN_BYTES && runs::decode(line).is_some())
    }

    /// Whether this byte belongs to the end of a line that waits, or begins one.
    pub(super) fn may_hold(&self, byte: u8) -> bool {
        self.joint.may_hold(byte) && (!self.joint.is_empty() || self.may_join(Some(byte)))
    }

    /// Lets a byte of the end of a line wait.
    pub(super) fn hold(&mut self, byte: Option<u8>, source_bytes: usize) {
        self.joint.bytes.push((byte, source_bytes));
        self.read += source_bytes;
    }

    /// Takes from plain bytes what belongs to the end of a line, if one waits or may begin, and settles it by what
    /// follows. Returns where that is, unless it is still to come.
    pub(super) fn follow_joint(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        if at == 0 && self.joint.is_empty() {
            let begins = self.run > 0 && self.may_join(bytes.first().copied());
            if !begins {
                return Some(at);
            }
        }
        while let Some(byte) = bytes.get(at).copied().filter(|byte| self.joint.may_hold(*byte)) {
            self.hold(Some(byte), 1);
            at += 1;
        }
        let next = bytes.get(at).copied()?;
        self.settle_joint(Some(next));
        Some(at)
    }

    /// The end of a line is followed by this, or by nothing that could belong to a run.
    pub(super) fn settle_joint(&mut self, next: Option<u8>) {
        if self.joint.is_empty() {
            return;
        }
        self.read -= self.joint.source_bytes();
        let joint = std::mem::take(&mut self.joint);
        let goes_on = next.is_some_and(runs::is_member);
        if !goes_on {
            self.end_run();
        }
        let before = self.text.len();
        for (byte, source_bytes) in joint.bytes {
            match byte {
                None => self.read += source_bytes,
                Some(byte) if source_bytes == 1 => self.copy(&[byte]),
                Some(byte) => {
                    self.map.whole(self.end(), self.read..self.read + source_bytes);
                    self.text.push(byte);
                    self.read += source_bytes;
                }
            }
        }
        if goes_on {
            self.run += self.text.len() - before;
            self.is_joined = true;
        }
    }
}

/// The text that a run over lines hides: as a whole, and what each line hides by itself.
pub(super) fn decode(run: &[u8]) -> Option<Vec<u8>> {
    let whole: Vec<u8> = run.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let lines = run.split(u8::is_ascii_whitespace).filter_map(runs::decode);
    let mut text = runs::decode(&whole)?;
    for line in lines {
        text.push(SHADOW_GAP);
        text.extend_from_slice(&line);
    }
    Some(text)
}
