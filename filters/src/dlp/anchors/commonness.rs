//! How common are bytes, and pairs of bytes, in what people and programs write?
//!
//! Counted over two megabytes of English documentation and two of source code, without case: letters, digits as one,
//! everything else as one. It only orders the choices of the sweep, so a text of another kind is slower to read and
//! loses nothing.

/// Letters, digits, anything else.
const CLASSES: usize = 28;

/// How often the second follows the first, in a million pairs: `a` once or never, each letter after it twice as often.
const PAIRS: [&[u8; CLASSES]; CLASSES] = [
    b"gkllhikglejmlndkfmmnkjihjfim",
    b"kgiglfedkjckhekfajigledfkcik",
    b"lhjhliemjclkhemgdkimkieehcil",
    b"kghjmhghlffiggkfcijgjgffiajn",
    b"mjmmlljhjfhmlnhkjnnmgkjljejp",
    b"kfggkkiclaaihjleakiijcdchbim",
    b"ieielghjldbihjigbjjhjefafeem",
    b"mecdnddbladfhfleaiikhdeagdem",
    b"kklkklkdgehllomjfkmnekbjbjgj",
    b"gbfdjabcdageecgcecgchbdaaach",
    b"ideflgfdjabgdhgeceiggbgadbel",
    b"lggknlhdmeglgflichkkkggckcgm",
    b"mjehmeddkaeikgklcfjhjedbfafl",
    b"lflmmjmfkeijgimidgmmkjhcjego",
    b"hjkliljejhkkmnklcnklmjkheeem",
    b"mdhilfgikbglgelkeljllgddjagl",
    b"cacaacaadaafdaabadfcjbaaaaci",
    b"mhjknikgmcjjkkmhalllkihdkafn",
    b"kfkgnhhlldhjihlkghlnlggdjdgo",
    b"mfkinifnmdfjhfnjbmlkkeigkfho",
    b"jkjikijbkadlklgkalllgeafccjk",
    b"kcecmcdcjaabefhcacfcebecbajj",
    b"kddfkcalladfeikdajiecagdbaek",
    b"ififjfbehacehcejacfjdbcgfdkk",
    b"gffdhegehabhhhjkchjjddgbeeem",
    b"gaabjaacgabcecfaacdbabaaedeh",
    b"iiijiicddaecdecfcegcfeckbcnn",
    b"onnmmnmmnjkmmmnninnomlmjkhns",
];

fn class(byte: u8) -> usize {
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => usize::from(letter - b'a'),
        b'0'..=b'9' => 26,
        _ => 27,
    }
}

fn row(byte: u8) -> &'static [u8; CLASSES] {
    const NONE: &[u8; CLASSES] = &[b'a'; CLASSES];
    PAIRS.get(class(byte)).copied().unwrap_or(NONE)
}

/// The logarithm of how common a pair is.
fn pair(first: u8, second: u8) -> f32 {
    row(first).get(class(second)).map_or(0.0, |letter| f32::from(letter - b'a'))
}

/// How common a byte is.
pub(super) fn of_byte(byte: u8) -> f32 {
    row(byte).iter().map(|letter| f32::from(letter - b'a').exp2()).sum()
}

/// The logarithm of how common four bytes are, as if each depended on the one before it alone.
pub(super) fn of_window([a, b, c, d]: [u8; 4]) -> f32 {
    pair(a, b) + pair(b, c) + pair(c, d) - of_byte(b).log2() - of_byte(c).log2()
}
