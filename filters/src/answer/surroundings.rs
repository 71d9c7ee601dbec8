//! Could what stands here become part of an address that somebody opens, or that a client loads by itself?
//!
//! Read along with a text, one character at a time: bare addresses, links and images of Markdown, autolinks, HTML. It
//! knows these better than any of the many programs that show an answer, and where they differ it takes the word of the
//! one that would give the most away: what it says no to is left as it is, which costs nothing but a name in the place
//! of a value. It does not render anything.

/// Elements whose content is run, sent, or read as something else than text. Behind one nothing is certain.
const ACTIVE: &[&str] = &[
    "applet",
    "base",
    "button",
    "embed",
    "form",
    "frame",
    "iframe",
    "input",
    "link",
    "math",
    "meta",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "option",
    "plaintext",
    "script",
    "select",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "xmp",
];
/// Schemes whose addresses are written without slashes, or read without them.
const SCHEMES: &[&str] = &["ftp", "http", "https", "javascript", "mailto", "sms", "ws", "wss"];
/// Longer words are no name of an element, and no scheme.
const WORD_BYTES_MAX: usize = 12;
/// More stand in front of no escape that is looked at.
const BACKSLASHES_MAX: usize = 16;
/// What an address can stand in, so that it does not end at white space.
const BRACKETS: &[(char, char)] =
    &[(STRING, STRING), ('"', '"'), ('\'', '\''), ('`', '`'), ('(', ')'), ('{', '}'), ('<', '>')];
/// What a string of JSON stands in: no character of it ends it.
const STRING: char = '\0';
/// Full stops that browsers take for the one of a host's name.
const STOPS: &[char] = &['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];

/// What is known of the text before the cursor.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    previous: Option<char>,
    /// The letters right before the cursor, in lower case.
    word: String,
    /// Whether the characters since the last white space hold a name with a dot in it.
    is_dotted: bool,
    /// Whether they hold what makes an address of them.
    is_address: bool,
    /// The last bracket or quote in them that opened.
    opener: Option<char>,
    /// What ends the address that the cursor is in.
    closer: Option<char>,
    target: Option<Target>,
    tag: Option<Tag>,
    /// An active element began.
    is_active: bool,
    /// Nothing but white space stands in this line.
    is_blank: bool,
}

/// Where a link or an image of Markdown leads: `](…)`.
#[derive(Clone, Debug)]
struct Target {
    depth: u32,
    /// It began with `<`, which only `>` ends.
    is_pointed: bool,
    has_begun: bool,
}

/// `<…>`: an element, an autolink, or a target.
#[derive(Clone, Debug)]
struct Tag {
    name: String,
    in_name: bool,
    is_element: bool,
    after_equals: bool,
    quote: Option<char>,
}

impl Surroundings {
    /// At the begin of a string, which as a whole may be an address.
    pub(super) fn of_a_string() -> Self {
        Self { opener: Some(STRING), ..Self::default() }
    }

    /// Whether a value may be put where the cursor is.
    pub(super) fn are_safe(&self) -> bool {
        let is_free = self.tag.is_none() && self.target.is_none() && self.closer.is_none();
        is_free && !self.is_address && !self.is_active && !matches!(self.previous, Some('<' | '\\'))
    }

    /// Reads on.
    pub(super) fn read(&mut self, one: char) {
        let before = self.previous.replace(one);
        if one == '\n' && std::mem::replace(&mut self.is_blank, true) {
            // No link goes on over the end of a paragraph.
            self.target = None;
            self.closer = self.closer.filter(|closer| *closer == STRING);
        }
        self.is_blank &= one.is_whitespace();
        if let Some(tag) = &mut self.tag {
            if tag.is_closed_by(one) {
                self.is_active |= ACTIVE.contains(&&*tag.name);
                self.tag = None;
            }
        } else if before == Some('<') && !one.is_whitespace() && !matches!(one, '<' | '>') {
            self.tag = Some(Tag::beginning_with(one));
        }
        // What is an element to one program is a text to another.
        self.read_target(before, one);
        self.read_run(before, one);
    }

    fn read_target(&mut self, before: Option<char>, one: char) {
        let Some(target) = &mut self.target else {
            if before == Some(']') && one == '(' {
                self.target = Some(Target { depth: 1, is_pointed: false, has_begun: false });
            }
            return;
        };
        let is_first = !one.is_whitespace() && !std::mem::replace(&mut target.has_begun, true);
        if before == Some('\\') {
            return;
        }
        match one {
            '<' if is_first => target.is_pointed = true,
            '>' | '\n' => target.is_pointed = false,
            '(' if !target.is_pointed => target.depth += 1,
            ')' if !target.is_pointed => target.depth -= 1,
            _ => {}
        }
        if target.depth == 0 {
            self.target = None;
        }
    }

    /// Reads characters that belong together, since no white space parts them.
    fn read_run(&mut self, before: Option<char>, one: char) {
        let is_slash = |one: char| matches!(one, '/' | '\\');
        if one.is_ascii_whitespace() {
            (self.is_dotted, self.is_address) = (false, false);
            self.word.clear();
            // An address may stand a little way behind what opens.
            if before.is_some_and(|before| !before.is_ascii_whitespace() && Some(before) != self.opener) {
                self.opener = None;
            }
            return;
        }
        if self.closer == Some(one) && one != STRING && before != Some('\\') {
            self.closer = None;
        }
        self.is_dotted |= one.is_alphanumeric() && before.is_some_and(|before| STOPS.contains(&before));
        self.is_address |= match one {
            // But for the one that ends an element.
            '/' => {
                before == Some('/') || self.is_dotted || !self.tag.as_ref().is_some_and(|tag| tag.is_element)
            }
            '?' | '#' => self.is_dotted,
            ':' => SCHEMES.contains(&&*self.word),
            _ => false,
        };
        self.is_address |= match before {
            // But for what stands in JSON for a quote or the end of a line.
            Some('\\') => one != '"' && (self.is_dotted || !matches!(one, 'n' | 'r' | 't')),
            // A character by its name: `&period;`.
            Some('&') => one == '#' || one.is_ascii_alphanumeric(),
            _ => false,
        };
        if is_slash(one) && before.is_some_and(is_slash) && self.closer.is_none() {
            let bracket = BRACKETS.iter().find(|(open, _)| Some(*open) == self.opener);
            self.closer = bracket.map(|(_, close)| *close);
        }
        if one != STRING && BRACKETS.iter().any(|(open, _)| *open == one) {
            self.opener = Some(one);
        }
        if !one.is_ascii_alphabetic() {
            self.word.clear();
        } else if self.word.len() < WORD_BYTES_MAX {
            self.word.push(one.to_ascii_lowercase());
        }
    }
}

impl Tag {
    fn beginning_with(first: char) -> Self {
        let is_element = first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?');
        let mut tag =
            Self { name: String::new(), in_name: true, is_element, after_equals: false, quote: None };
        if first.is_ascii_alphabetic() {
            tag.name.push(first.to_ascii_lowercase());
        }
        tag
    }

    /// As browsers read one: a quote opens behind `=` alone, and only its like closes it.
    fn is_closed_by(&mut self, one: char) -> bool {
        if let Some(quote) = self.quote {
            if one == quote {
                self.quote = None;
            }
            return false;
        }
        match one {
            '>' => return true,
            '\n' if !self.is_element => return true,
            '=' => (self.in_name, self.after_equals) = (false, true),
            '"' | '\'' if self.after_equals && self.is_element => {
                (self.quote, self.after_equals) = (Some(one), false);
            }
            '/' => self.in_name = false,
            one if one.is_whitespace() => self.in_name = false,
            one => {
                if self.in_name && self.name.len() < WORD_BYTES_MAX {
                    self.name.push(one.to_ascii_lowercase());
                }
                self.after_equals = false;
            }
        }
        false
    }
}

/// Whether what follows leaves a value standing by itself: no host's name, path or parameter goes on in it, and it is
/// no link's text. `None`: more must be known.
pub(super) fn ends_before(rest: &str, is_json: bool, is_complete: bool) -> Option<bool> {
    let mut rest = rest.chars();
    let Some(first) = next(&mut rest, is_json) else { return is_complete.then_some(true) };
    if STOPS.contains(&first) || matches!(first, ':' | '?') {
        let Some(second) = next(&mut rest, is_json) else { return is_complete.then_some(true) };
        let is_wide = first != '.' && STOPS.contains(&first);
        let goes_on = if is_wide { second.is_ascii_alphanumeric() } else { second.is_alphanumeric() };
        return Some(!goes_on && !matches!(second, '/' | '\\' | '-' | '_' | '%') && !is_invisible(second));
    }
    let is_of_address = first.is_ascii_alphanumeric() || "-_/\\@%&=#~+($".contains(first);
    Some(!is_of_address && !is_invisible(first) && !is_wide_of_address(first))
}

/// The next character, in JSON what its escape stands for; a code could stand for any letter, and reads as one.
fn next(rest: &mut std::str::Chars<'_>, is_json: bool) -> Option<char> {
    let first = rest.next()?;
    if first != '\\' || !is_json {
        return Some(first);
    }
    for _ in 0..BACKSLASHES_MAX {
        match rest.next()? {
            '\\' => {}
            'n' | 'r' | 't' => return Some(' '),
            one => return Some(one),
        }
    }
    Some(first)
}

/// Characters that nobody sees, and that browsers drop from names of hosts.
fn is_invisible(one: char) -> bool {
    matches!(one,
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Wide forms of what names of hosts and addresses consist of.
fn is_wide_of_address(one: char) -> bool {
    matches!(one, '\u{ff0d}' | '\u{ff0f}'..='\u{ff19}' | '\u{ff20}'..='\u{ff3a}' | '\u{ff3f}' | '\u{ff41}'..='\u{ff5a}')
}
