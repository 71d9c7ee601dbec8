//! How deep in JSON does a text stand? A text may be JSON, and a string in it may hold JSON again.
//!
//! Read along, one character at a time, each level with what its escapes stand for. What only looks like JSON at its
//! begin is prose, and prose has no depth. It reads loosely: whether a text is valid is not asked here.

use super::surroundings::Surroundings;

/// Deeper objects and arrays are not told apart any more.
const DEPTH_MAX: u32 = 128;

/// One level: a text that may be JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    kind: Kind,
    depth: u32,
    /// One bit for each open object or array: whether it is an object.
    objects: u128,
    expects_key: bool,
    /// The string that the cursor is in.
    string: Option<Box<Inside>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Nothing but white space yet.
    #[default]
    Unknown,
    /// `{` or `[` was the first.
    Opened(char),
    Json,
    Prose,
}

/// The inside of a string.
#[derive(Clone, Debug)]
struct Inside {
    is_key: bool,
    escape: Escape,
    surroundings: Surroundings,
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// So many digits of `\u0000`, and what they say.
    Code(u32, u32),
}

impl Level {
    /// How many strings the cursor is in, one in the other.
    pub(super) fn depth(&self) -> usize {
        self.string.as_ref().map_or(0, |inside| 1 + inside.level.depth())
    }

    /// Whether a value may be put where the cursor is: not into a key, not amid an escape, and into no address that any
    /// of the strings holds.
    pub(super) fn is_safe(&self) -> bool {
        self.string.as_ref().is_none_or(|inside| {
            let is_whole = inside.escape == Escape::None;
            !inside.is_key && is_whole && inside.surroundings.are_safe() && inside.level.is_safe()
        })
    }

    /// Reads on.
    pub(super) fn read(&mut self, one: char) {
        match self.kind {
            Kind::Prose => return,
            Kind::Unknown | Kind::Opened(_) if one.is_whitespace() => return,
            Kind::Unknown => {
                self.kind = if matches!(one, '{' | '[') { Kind::Opened(one) } else { Kind::Prose };
            }
            Kind::Opened(first) => {
                let fits = if first == '{' { "\"}" } else { "\"{[]-0123456789tfn" };
                self.kind = if fits.contains(one) { Kind::Json } else { Kind::Prose };
            }
            Kind::Json => {}
        }
        if self.kind == Kind::Prose {
            return;
        }
        let Some(inside) = &mut self.string else { return self.read_outside(one) };
        if inside.is_closed_by(one) {
            self.string = None;
        }
    }

    fn read_outside(&mut self, one: char) {
        match one {
            '{' | '[' => {
                self.depth += 1;
                self.objects = self.objects << 1 | u128::from(one == '{');
                self.expects_key = one == '{';
                if self.depth > DEPTH_MAX {
                    self.kind = Kind::Prose;
                }
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                self.objects >>= 1;
                self.expects_key = false;
                if self.depth == 0 {
                    self.kind = Kind::Unknown;
                }
            }
            ',' => self.expects_key = self.objects & 1 == 1,
            '"' => {
                let is_key = std::mem::take(&mut self.expects_key);
                let surroundings = Surroundings::of_a_string();
                let (escape, level) = (Escape::None, Self::default());
                self.string = Some(Box::new(Inside { is_key, escape, surroundings, level }));
            }
            _ => {}
        }
    }
}

impl Inside {
    fn is_closed_by(&mut self, one: char) -> bool {
        let meant = match (self.escape, one) {
            (Escape::None, '"') => return true,
            (Escape::None, '\\') => {
                self.escape = Escape::Begun;
                return false;
            }
            (Escape::None, one) => one,
            (Escape::Begun, 'u') => {
                self.escape = Escape::Code(0, 0);
                return false;
            }
            (Escape::Begun, one) => match one {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                one => one,
            },
            (Escape::Code(digits, code), one) => {
                let code = code << 4 | one.to_digit(16).unwrap_or(0);
                if digits < 3 {
                    self.escape = Escape::Code(digits + 1, code);
                    return false;
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
        };
        self.escape = Escape::None;
        self.surroundings.read(meant);
        self.level.read(meant);
        false
    }
}
