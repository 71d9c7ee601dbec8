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

/// The 600 commonest groups of four letters in the same texts, in order: what pairs alone take for rarer.
const WINDOWS: &[u8] = b"\
     ableacceacheackaackeacroactiaderagesainsaintalidalizallealloallyalsoalueamesamplanceanchandlange\
     appeapplaramarchargeargsariaarnearseartiasesasseatchatedateratesathsaticatinatioatoratteattratur\
     aultauseauthbackbasebeenbianbjecbmodboolbranbrarbuffbuilbutebytecallcasecatecaticensceptcesschan\
     charcheccifickagclascleacloncloscludcodecodicommcompcondconfconnconscontconvcopycorecorrcratcrea\
     cripctedctioctlyctorcumecurrdatadatedebidecodefadentdescdictdiffdingdiredistditidocudoesduleeach\
     eadeearneaseeateeatuebasebiaecifecteectiectlectoectsefaueferefineforeleaelseemenemotemovemptence\
     encoendeenerenseentaentientrentseporeposeptiequeequieraterenergeeriaernaerroersierveessaessiesul\
     etchethoetimetteetureveleveneverexamexceexerexpeextefailfaulfeatferefetcfferficafiedfielfigufile\
     firsfixefollforeformfounfreefromfuncgenegivegnorgramgurahandhanghashhaveheadheckhelpherehesehich\
     hinghoulhouthttpiablialiibraibuticalicaticenidenieldientificifieightignoigurilerilesimplimpoinal\
     inceinclindeinesinfoingsinitinliinpuinstinteintoionaionsirecirstisteistritemiterithoitioitoriven\
     ixesizedjectkagekenskinglacelasslatelatileanlearleaslemelessletelexelibrlicelikelinelinglinklist\
     lizelledllocllowlocalocklonelonglterludemailmainmakemandmatcmattmbermentmergmessmetamethmmanmmit\
     modimodumoremotemovempilmplempormptymustnamencluncodnctinderndexndinndleneedneranfigningnitinlin\
     nnecnonenorenotenotinputnstanstrntaintatntennterntrinumbobjeocalocatocumodifodinoducodulograoint\
     okenolloommaommiompaompiomplonalondionfionlyonneonstontaonteontropenoperoptiormaorreorteositotes\
     otheouldoundourcoutpoverpackparapareparspartpatcpathpdatpecipectpendperapileplacplempletplicpoin\
     portposipporprefpresprocprogprotprovptiopublpushpythquesquirractrancransraryrateratiratoreadream\
     reatrecerectrefereleremorentreporequreseressrestresureturgetriabrialriburiesrighringriptritermat\
     rnedrocerodurogrrrecrrenrrorrsiortedructsafesagesamescrisectselfsendserisertservshoushowsidesign\
     sincsingsionsitosizesomesourspanspecssagsserssiostalstanstarstatstemstorstrestristrustylsubmsuch\
     sultsuppsuresysttabltaintalltarttatetatitecttemptentteratermternterstesttextthanthatthemthenther\
     thesthinthisthodthonthoutialtimetingtiontivetoketorytputtractraitrantreatreetribtrintructterttps\
     tureturntyletypeubliubmouestuffeuilduireultiumbeumenunctundeupdauppouraturceurreuseduserusinusiz\
     utpuvalivaluvariventverswhatwhenwherwhicwillwindwingwithwordworkwrapwritxampxcepyourysteytesytho";

/// A common group counts as so many times commoner, as a logarithm.
const COMMON: f32 = 8.0;

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

/// How likely a byte of the second kind follows one of the first, among all that follow: kinds are the letters in
/// order, digits, anything else.
pub(in crate::dlp) fn of_next(first: usize, second: usize) -> f32 {
    let row = PAIRS.get(first).copied().unwrap_or(&[b'a'; CLASSES]);
    let often = |letter: &u8| f32::from(letter - b'a').exp2();
    row.get(second).map_or(0.0, often) / row.iter().map(often).sum::<f32>()
}

/// How common a byte is.
pub(super) fn of_byte(byte: u8) -> f32 {
    row(byte).iter().map(|letter| f32::from(letter - b'a').exp2()).sum()
}

/// The logarithm of how common four bytes are: as if each depended on the one before it alone, but for groups that are
/// known to be common.
pub(super) fn of_window(window: [u8; 4]) -> f32 {
    let pairs = of_chain(&window);
    if is_common(window) { pairs + COMMON } else { pairs }
}

/// Whether four letters are known to be common.
pub(in crate::dlp) fn is_common(window: [u8; 4]) -> bool {
    let (known, _) = WINDOWS.as_chunks::<4>();
    known.binary_search(&window.map(|byte| byte.to_ascii_lowercase())).is_ok()
}

/// The logarithm of how often bytes stand in a million places, as if each depended on the one before it alone.
pub(in crate::dlp) fn of_chain(bytes: &[u8]) -> f32 {
    let pairs: f32 = bytes.array_windows().map(|[one, next]| pair(*one, *next)).sum();
    let inner = bytes.get(1..bytes.len().saturating_sub(1)).unwrap_or_default();
    pairs - inner.iter().map(|byte| of_byte(*byte).log2()).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_groups_are_in_order_and_cost_more() {
        let (known, rest) = WINDOWS.as_chunks::<4>();
        assert!(known.is_sorted() && rest.is_empty() && known.len() == 600);
        assert!(of_window(*b"TION") > of_window(*b"noti"));
    }
}
