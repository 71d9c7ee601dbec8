//! What is a country? Two letters of ISO 3166-1, and the continent that it lies on.
//!
//! Needs nothing; proves that what an admin writes is a code that exists: a typo is an error, and not a rule that never
//! holds. What a database says is taken as it is: databases also know codes that were given up.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

/// Every code of ISO 3166-1 alpha-2, and `XK`, which databases use for Kosovo; by the continents of GeoNames
/// (countryInfo.txt), which MaxMind's databases follow.
const COUNTRIES: [(Continent, &str); 7] = [
    (
        Continent::Africa,
        "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW MZ \
         NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    ),
    (Continent::Antarctica, "AQ BV GS HM TF"),
    (
        Continent::Asia,
        "AE AF AM AZ BD BH BN BT CC CN GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP \
         OM PH PK PS QA SA SG SY TH TJ TM TR TW UZ VN YE",
    ),
    (
        Continent::Europe,
        "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD \
         ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK",
    ),
    (
        Continent::NorthAmerica,
        "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX \
         TC TT US VC VG VI",
    ),
    (
        Continent::Oceania,
        "AS AU CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM VU WF WS",
    ),
    (Continent::SouthAmerica, "AR BO BR CL CO EC FK GF GY PE PY SR UY VE"),
];

/// Letters of a code.
const LETTERS: usize = 26;

/// [`COUNTRIES`] by the number of their code: asked for each request whose database knows no continents.
static CONTINENTS: LazyLock<Vec<Option<Continent>>> = LazyLock::new(|| {
    let mut continents = vec![None; LETTERS * LETTERS];
    for (continent, codes) in COUNTRIES {
        for country in codes.split(' ').filter_map(Country::read) {
            if let Some(place) = continents.get_mut(country.number()) {
                *place = Some(continent);
            }
        }
    }
    continents
});

/// A code in two capital letters, such as `DE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads what looks like a code.
    pub fn read(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        // They are ASCII by construction.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Where it lies; none, if no such code exists.
    pub fn continent(self) -> Option<Continent> {
        CONTINENTS.get(self.number()).copied().flatten()
    }

    fn number(self) -> usize {
        let [one, two] = self.0.map(|letter| usize::from(letter - b'A'));
        one * LETTERS + two
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    /// Reads what an admin wrote, which must exist.
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::read(&text).filter(|country| country.continent().is_some()).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no country; write two capital letters as in ISO 3166-1, such as `DE`"
            ))
        })
    }
}

impl JsonSchema for Country {
    fn schema_name() -> Cow<'static, str> {
        "Country".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "The two letters of ISO 3166-1.", "type": "string", "pattern": "^[A-Z]{2}$" })
    }
}

/// A part of the world, by the letters that databases use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
pub enum Continent {
    /// `AF`
    #[serde(rename = "AF")]
    Africa,
    /// `AN`
    #[serde(rename = "AN")]
    Antarctica,
    /// `AS`
    #[serde(rename = "AS")]
    Asia,
    /// `EU`: the continent, not the union.
    #[serde(rename = "EU")]
    Europe,
    /// `NA`
    #[serde(rename = "NA")]
    NorthAmerica,
    /// `OC`
    #[serde(rename = "OC")]
    Oceania,
    /// `SA`
    #[serde(rename = "SA")]
    SouthAmerica,
}

impl Continent {
    /// Reads the two letters.
    pub fn read(text: &str) -> Option<Self> {
        COUNTRIES.iter().map(|(continent, _)| *continent).find(|continent| continent.code() == text)
    }

    /// The two letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once() {
        let codes: Vec<&str> = COUNTRIES.iter().flat_map(|(_, codes)| codes.split(' ')).collect();
        let all: std::collections::BTreeSet<&str> = codes.iter().copied().collect();
        // ISO 3166-1 has 249 codes.
        assert_eq!((codes.len(), all.len()), (250, 250));
        for code in codes {
            let country = Country::read(code).unwrap();
            assert_eq!((country.as_str(), country.continent().is_some()), (code, true));
        }
    }

    #[test]
    fn what_does_not_exist_is_no_country_of_a_document() {
        #[derive(Debug, Deserialize)]
        struct Document {
            country: Country,
        }
        let read = |text: &str| toml::from_str::<Document>(&format!("country = \"{text}\""));
        assert_eq!(read("DE").unwrap().country.continent(), Some(Continent::Europe));
        for text in ["UK", "EU", "AN", "de", "DEU", "", "D", "Ä", "D ", "12"] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}` is no country")), "{error}");
        }
        // Databases still know the Netherlands Antilles.
        assert_eq!(Country::read("AN").unwrap().continent(), None);
        assert_eq!(Continent::read("EU"), Some(Continent::Europe));
        assert_eq!(Continent::read("XX"), None);
    }
}
