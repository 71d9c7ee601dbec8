//! Each validator against numbers that others have published (standards, authorities, encyclopaedias,
//! vendors' manuals), each checksum against changed digits, and all of them against noise.

use proptest::prelude::*;

use super::Validator::{self, *};

/// Published, valid numbers.
const VALID: &[(Validator, &[&str])] = &[
    (Luhn, &["79927398713", "490154203237518"]),
    (
        PaymentCard,
        &[
            "4111 1111 1111 1111",
            "378282246310005",
            "5555-5555-5555-4444",
            "30569309025904",
            "6011111111111117",
        ],
    ),
    (
        SpeltCard,
        &[
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "41111 11111 11111 1",
            "4111/1111/1111/1111",
            "37 82 82 24 63 10 00 5",
        ],
    ),
    (
        SpeltCardInWords,
        &[
            "four one one one one one one one one one one one one one one one",
            "Three, seven, eight, two, eight, two, two, four, six, three, one, oh, oh, nought, five",
        ],
    ),
    (
        Iban,
        &[
            "GB82 WEST 1234 5698 7654 32",
            "DE89370400440532013000",
            "FR1420041010050500013M02606",
            "NO9386011117947",
        ],
    ),
    (Iban, &["MT84MALT011000012345MTLCAST001S", "BR1800360305000010009795493C1", "SA0380000000608010167519"]),
    (Lei, &["5493001KJTIIGC8Y1R12", "HWUPKR0MPOU8FGXBT394"]),
    (AbaRouting, &["021000021", "011401533", "111000025"]),
    (BitcoinAddress, &["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"]),
    (
        BitcoinAddress,
        &["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"],
    ),
    (BitcoinAddress, &["bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"]),
    (UsSsn, &["536-90-4399"]),
    (UsItin, &["912-90-3456"]),
    (UsEin, &["91-1144442"]),
    (UsNpi, &["1234567893"]),
    (UsStateZip, &["CA 90210", "NY 10118", "MA 02110-1301"]),
    (UsDea, &["F91234563", "AB1234563"]),
    (CaSin, &["193 456 787"]),
    (BrCpf, &["390.533.447-05", "529.982.247-25"]),
    (BrCnpj, &["16.727.230/0001-97", "12.ABC.345/01DE-35"]),
    (ClRut, &["76086428-5", "12531909-2"]),
    (ArCuit, &["20-05536168-2", "20267565393"]),
    (MxCurp, &["HEGG560427MVZRRL04", "BOXW310820HNERXN09"]),
    (UkNhs, &["943 476 5919"]),
    (UkNino, &["AB123456C"]),
    (UkUtr, &["1955839661"]),
    (DeTaxId, &["86095742719", "65929970489", "47036892816"]),
    (DeVat, &["DE136695976"]),
    (DeIdCard, &["T220001293"]),
    (DeHealthInsurance, &["A123456780"]),
    (DePension, &["65170839J003", "15070649C103"]),
    (DePhysician, &["482915403"]),
    (FrNir, &["2 55 08 14 168 025 38", "295109912611193"]),
    (FrSiren, &["732829320", "73282932000074"]),
    (EsDni, &["12345678Z", "54362315K", "X1234567L", "X5253868R"]),
    (ItFiscalCode, &["RSSMRA85T10A562S", "RCCMNL83S18D969H"]),
    (ItVat, &["00743110157", "07643520567"]),
    (NlBsn, &["111222333", "123456782"]),
    (BeNational, &["85.07.30-033.28"]),
    (PtNif, &["501964843", "123456789"]),
    (ChAhv, &["756.9217.0769.85"]),
    (AtInsurance, &["1237 010180"]),
    (IePps, &["1234567T", "1234567FA"]),
    (PlPesel, &["44051401359"]),
    (PlNip, &["123-456-32-18", "8567346215"]),
    (SePersonal, &["811218-9876", "19811218-9876", "880320-0016"]),
    (SeOrganisation, &["556016-0680", "1234567897"]),
    (NoBirthNumber, &["15108695088"]),
    (DkCpr, &["211062-5629"]),
    (FiIdentityCode, &["131052-308T"]),
    (CzBirthNumber, &["736028/5163", "710319/2745"]),
    (RoCnp, &["1630615123457"]),
    (BgEgn, &["7523169263", "8032056031"]),
    (HrOib, &["33392005961"]),
    (BalticPersonalCode, &["37605030299", "33309240064"]),
    (LvPersonalCode, &["161175-19997"]),
    (GrAfm, &["094259216"]),
    (TrIdentity, &["17291716060", "10000000146"]),
    (HuTaj, &["111111110"]),
    (UaTaxpayer, &["1759013776"]),
    (IsKennitala, &["120174-3399"]),
    (InAadhaar, &["2341 2341 2346"]),
    (InGstin, &["27AAPFU0939F1ZV"]),
    (SgNric, &["S1234567D", "T1234567J", "F1234567N", "G1234567X", "M1234567K"]),
    (KrResident, &["900315-1234568"]),
    (CnResident, &["11010519491231002X"]),
    (JpMyNumber, &["123456789018"]),
    (TwIdentity, &["A123456789"]),
    (HkIdentity, &["A123456(3)", "AB987654(3)"]),
    (ThCitizen, &["3100600445635"]),
    (AuTfn, &["123 456 782"]),
    (AuMedicare, &["2123 45670 1"]),
    (AuAbn, &["51 824 753 556"]),
    (AuAcn, &["004 085 616"]),
    (NzIrd, &["49091850", "35901981", "49098576", "136410132"]),
    (ZaIdentity, &["8001015009087"]),
    (IlIdentity, &["039337423"]),
    (
        EuropeanVat,
        &[
            "ATU13585627",
            "BE0403019261",
            "BG175074752",
            "CY10259033P",
            "CZ25123891",
            "DE136695976",
            "DK13585628",
            "EE100594102",
            "EL094259216",
            "ESJ99216582",
            "FI20774740",
            "FR40303265045",
            "GB980780684",
            "HR33392005961",
            "HU12892312",
            "IE6433435F",
            "IT00743110157",
            "LT119511515",
            "LU15027442",
            "LV40003521600",
            "MT11679112",
            "NL004495445B01",
            "NO988077917MVA",
            "PL8567346215",
            "PT501964843",
            "RO18547290",
            "SE123456789701",
            "SI50223054",
            "SK2022749619",
        ],
    ),
    (NoOrganisation, &["988 077 917"]),
    (SiTax, &["50223054"]),
    (ChUid, &["CHE-100.155.212"]),
    (EsTax, &["J99216582", "54362315K"]),
    (EsSocial, &["281234567840"]),
    (LuNational, &["1893120105732"]),
    (RuInn, &["7707083893", "500100732259"]),
    (RuSnils, &["112-233-445 95"]),
    (YuCitizen, &["0101006500006"]),
    (ByPayer, &["200988541"]),
    (MdNumber, &["1008600038413"]),
    (KzNumber, &["971240001315"]),
    (EgNational, &["29001011234567"]),
    (AeIdentity, &["784-1980-1234567-8"]),
    (SaIdentity, &["1000000008"]),
    (EcIdentity, &["1714307103"]),
    (DoIdentity, &["00113918205"]),
    (UyIdentity, &["1.234.567-2"]),
    (CoTax, &["213.123.432-1"]),
    (VeTax, &["V-11470283-4"]),
    (PeTax, &["20512333797"]),
    (MxTax, &["GODE561231GR8"]),
    (GtTax, &["576937-K"]),
    (MyIdentity, &["770305-02-1234"]),
    (IdIdentity, &["3171011708450001"]),
    (IdTax, &["01.312.166.0-091.000"]),
    (VnTax, &["0100233488"]),
    (PkIdentity, &["34201-0891231-8"]),
    (LkIdentity, &["853400937V", "198534000937"]),
    (PlRegon, &["123456785", "12345678512347"]),
    (PlIdCard, &["ABA300000"]),
    (HuTax, &["8071592153"]),
    (GrSocial, &["01013099997"]),
    (FrTax, &["30 23 217 600 053"]),
    (PtCard, &["00000000 0 ZZ4"]),
    (IrNational, &["0499370899"]),
    (PublicIpv4, &["8.8.4.4"]),
    (GlobalIpv6, &["2a02:2e0:3fe:1001:7777:772e:2:85"]),
    (PrivateIpv4, &["10.1.2.3", "172.31.0.1"]),
    (NumberOfAPerson, &["U-132950", "85020311283", "306 7221", "31-12-1980-77"]),
    (Telephone, &["612 30 83 21", "8 (912) 576-71-93", "2267 5465", "01.23.45.67.89", "601 921 490"]),
    (KrBusiness, &["116-82-00276"]),
    (MarkedToken, &["AKIAQ7GX2LWPZ9RT4VMK"]),
    (BirthDate, &["1985-12-04", "31.12.1980", "12/31/80", "March 3rd, 1979"]),
    (Email, &["jane.doe@example.org"]),
    (Vin, &["1M8GDM9AXKP042788", "11111111111111111"]),
    (Jwt, &["eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIn0"]),
    (
        Opaque,
        &["f3Q9xW7vL2mN8pR4tYz1", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d", "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"],
    ),
    (
        VendorToken,
        &["abcdefghij1234567890", "bcdfghjklmnpqrstvwxz", "q7gx2lwpz9rt", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"],
    ),
    (Password, &["Tr0ub4dor&3", "hunter2", "correct!horse"]),
    (ChosenPassword, &["hunter2x9"]),
    (PasswordOrWord, &["opensesame"]),
    (CredentialWord, &["opensesame", "123456", "changeme"]),
    (CredentialToken, &["opensesame", "trustno1", "a123456"]),
    (NotTemplate, &["t7Gq-x2Lw"]),
    (UrlPassword, &["t7Gq-x2Lw", "qyOIhJiM"]),
    (Login, &["deploy:t7Gq-x2Lw"]),
];

/// Look-alikes: reserved, voided, mistyped, or saying where a value comes from instead of saying it.
const INVALID: &[(Validator, &[&str])] = &[
    // As it is printed, with two separators, in one piece, of no network, with a wrong check digit, too long.
    (
        SpeltCard,
        &[
            "4111 1111 1111 1111",
            "3782 822463 10005",
            "41111 1111-11111 11",
            "4111111111111111",
            "1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 2",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ],
    ),
    (SpeltCardInWords, &["four one one one one one one one one one one one one one one two", "four one one"]),
    (PaymentCard, &["4111111111111112", "0000000000000000", "41111111111", "4111x11111111111"]),
    (Iban, &["GB82WEST12345698765433", "XX82WEST12345698765432", "GB82WEST123456987654320"]),
    (AbaRouting, &["021000022", "500000005"]),
    (
        BitcoinAddress,
        &["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "bc1Qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "0OIl"],
    ),
    (UsSsn, &["666-12-3456", "000-12-3456", "900-12-3456", "536-00-4399", "536-90-0000", "078-05-1120"]),
    (UkUtr, &["2955839661"]),
    (UsStateZip, &["OR 12345", "XX 90210", "CA 9"]),
    (UsItin, &["912-89-3456", "912-93-3456", "812-90-3456"]),
    (CaSin, &["046 454 286", "193 456 788"]),
    (UkNino, &["GB123456C", "QQ123456C", "AO123456C", "AB123456E"]),
    (DeTaxId, &["86095742718", "12345678903", "11111111111"]),
    (EsDni, &["12345678A"]),
    (InAadhaar, &["123456789012", "234123412347"]),
    (PublicIpv4, &["10.0.0.1", "192.0.2.1", "256.1.1.1", "1.2.3", "08.8.8.8", "1.3.6.1.5"]),
    (GlobalIpv6, &["2001:db8::1", "fe80::1", "12:30:45"]),
    (NumberOfAPerson, &["1985-12-04", "31.12.1980", "12345", "000000"]),
    (
        Telephone,
        &[
            "1999-2003",
            "2497-08-27",
            "31.12.1980",
            "12 345",
            "0000 0000",
            "2.23.25.84",
            "10.0.19041.1",
            "12 500 000",
        ],
    ),
    (KrBusiness, &["116-82-00277", "000-00-00000"]),
    (MarkedToken, &["AKIAIOSFODNN7EXAMPLE"]),
    (BirthDate, &["45/45/1985", "1985-02-30", "1.2"]),
    (Email, &["git@github.com", "icon@2x.png", "a..b@example.org"]),
    (Crc32Base62, &["ghp_16C7e42F292c69C2E7C10c838347Ae178B4a", "ghp_"]),
    (Jwt, &["eyJmb28iOiJiYXIifQ.eyJhIjoxfQ", "eyJ!"]),
    (
        Opaque,
        &[
            "getTokenFromHeader2",
            "acme-1234567890",
            "MSV1_0_CREDENTIAL_KEY",
            "Curve448.secret_length",
            "1.40.0-beta.2",
            "xxxxxxxxxxxxxxxxxxxx1a",
            "9f86d081884c",
        ],
    ),
    (VendorToken, &["authenticationmiddleware", "worker-configuration-file", "your-api-key-goes-here-1"]),
    (
        Password,
        &[
            "password",
            "${DB_PASSWORD}",
            "********",
            "Passwort",
            "<secret>",
            "password2",
            "settings.password1",
        ],
    ),
    (ChosenPassword, &["user_password2", "v1.40.0-beta.2"]),
    (CredentialWord, &["Required.", "string", "settings.password"]),
    (CredentialToken, &["Required.", "1000", "123456", "4096.", "1,024"]),
    (NotTemplate, &["${PASSWORD}", "<password>", "xxx"]),
    (UrlPassword, &["password", "${PASSWORD}", "opensesame"]),
    (Login, &["$USER:$PASS", "user:password"]),
];

#[test]
fn published_numbers_are_accepted() {
    assert_eq!(judged(VALID, false), Vec::<String>::new(), "refused, but published as valid");
}

#[test]
fn look_alikes_are_refused() {
    assert_eq!(judged(INVALID, true), Vec::<String>::new(), "accepted, but no such number");
}

/// The cases that their validator judges as `verdict`.
fn judged(cases: &[(Validator, &[&str])], verdict: bool) -> Vec<String> {
    let each =
        cases.iter().flat_map(|(validator, numbers)| numbers.iter().map(move |number| (*validator, *number)));
    let wrong = each.filter(|(validator, number)| validator.accepts(number.as_bytes()) == verdict);
    wrong.map(|(validator, number)| format!("{validator:?} `{number}`")).collect()
}

#[test]
fn a_github_checksum_is_the_crc32_of_what_stands_before_it() {
    let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
    let mut check = String::new();
    let mut rest = crc32fast::hash(body.as_bytes());
    for _ in 0..6 {
        let place = usize::try_from(rest % 62).unwrap();
        check.insert(0, char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[place]));
        rest /= 62;
    }
    // The pair that GitHub's own article prints.
    assert_eq!(check, "0mLq17");
    assert!(Crc32Base62.accepts(format!("ghp_{body}{check}").as_bytes()));
}

/// Checksums that promise to notice any single wrong digit. Even weights under an even modulus do not (ACN,
/// DEA).
const CATCH_ANY_DIGIT: &[Validator] = &[
    Luhn,
    PaymentCard,
    Iban,
    Lei,
    AbaRouting,
    UsNpi,
    CaSin,
    UkNhs,
    DeTaxId,
    FrNir,
    EsDni,
    ItVat,
    NlBsn,
    BeNational,
    ChAhv,
    PlPesel,
    SeOrganisation,
    NoBirthNumber,
    HrOib,
    TrIdentity,
    InAadhaar,
    InGstin,
    SgNric,
    CnResident,
    HkIdentity,
    AuTfn,
    AuAbn,
    ZaIdentity,
    IlIdentity,
];

proptest! {
    #[test]
    fn one_changed_digit_is_noticed(
        case in 0..VALID.len(),
        place in any::<prop::sample::Index>(),
        shift in 1_u8..10,
    ) {
        let (validator, numbers) = VALID[case];
        if CATCH_ANY_DIGIT.contains(&validator) {
            let mut number = numbers[0].as_bytes().to_vec();
            let is_digit = |place: &usize| number[*place].is_ascii_digit();
            let digits: Vec<usize> = (0..number.len()).filter(is_digit).collect();
            let place = digits[place.index(digits.len())];
            number[place] = b'0' + (number[place] - b'0' + shift) % 10;
            let written = String::from_utf8_lossy(&number);
            prop_assert!(!validator.accepts(&number), "{:?} accepts {:?}", validator, written);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        digits in "[0-9A-Z./ -]{0,40}",
    ) {
        for (validator, _) in VALID {
            validator.accepts(&bytes);
            validator.accepts(digits.as_bytes());
        }
    }
}
