//! Which stages are on? The ladder: organisations of one process, each with one stage more than the one before.
//!
//! A rung is an organisation's document and its key, so that all rungs run in the same process, with the same code in
//! the same caches, and differ by configuration alone: what a user would switch on. The platform of that process has
//! no floor, or every rung would have detection. The spool writes in all of them: there is no request without an event.

use palisade_filters::api_key;

/// One step of the ladder: what it adds to the organisation's document.
struct Step {
    name: &'static str,
    /// Members at the top of the document.
    settings: &'static str,
    /// Tables.
    tables: &'static str,
}

const DOCUMENT: &str = r#"
id = "{organisation}"
{settings}
[credint]
presented_key = {presented_key}
text = {text}
[[groups]]
name = "engineering"
[[keys]]
id = "{id}"
sha256 = "{sha256}"
groups = ["engineering"]
{tables}
[[routes]]
name = "everything"
models = ["mock*"]
targets = ["double"]
"#;

/// Policy rules of a well-kept organisation; none is about what the corpus holds but the last.
const POLICY_RULES: usize = 50;

const STEPS: &[Step] = &[
    Step { name: "forward, tenant, events", settings: "", tables: "" },
    Step {
        name: "+ address, country, leaked keys",
        settings: r#"ip_allowlist = ["127.0.0.0/8", "10.0.0.0/8", "203.0.113.10-20"]"#,
        tables: r#"
[geo]
deny = { countries = ["KP"], asns = [64500] }
unknown = "allow"
"#,
    },
    Step {
        name: "+ prompts scanned",
        settings: "",
        tables: r#"
[[policy]]
name = "seen"
direction = "input"
action = "log"
"#,
    },
    Step { name: "+ policy", settings: "", tables: "{policy}" },
    Step {
        name: "+ model access",
        settings: "",
        tables: r#"
[model_access]
default = "deny"
[[model_access.rules]]
groups = ["engineering"]
allow = ["mock*", "double/*"]
deny = ["*-preview"]
"#,
    },
    Step {
        name: "+ quotas",
        settings: "",
        tables: r#"
[[quotas]]
subject = "organisation"
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000_000
requests_per_day = 1_000_000_000_000
tokens_per_day = 1_000_000_000_000_000
[[quotas]]
subject = "key"
requests_per_minute = 1_000_000_000
tokens_per_day = 1_000_000_000_000_000
"#,
    },
    Step {
        name: "+ answers scanned",
        settings: "",
        tables: r#"
[[policy]]
name = "nothing comes back"
direction = "output"
categories = ["payment", "identity", "secret"]
action = "redact"
"#,
    },
];

/// An organisation of the ladder.
pub(crate) struct Rung {
    /// What it adds.
    pub(crate) name: &'static str,
    /// Its id, and the name of its document.
    pub(crate) organisation: String,
    /// Its document.
    pub(crate) document: String,
    /// The key of its one caller.
    pub(crate) key: String,
}

/// All rungs, from the lowest.
pub(crate) fn all() -> Vec<Rung> {
    (1..=STEPS.len()).filter_map(rung).collect()
}

fn rung(height: usize) -> Option<Rung> {
    let steps = STEPS.get(..height)?;
    let name = steps.last()?.name;
    let organisation = format!("rung-{height}");
    // Fixed bits: nobody else can reach this address, and a run is like the one before.
    let bits = u8::try_from(height).ok()?;
    let key = api_key::create([bits; 9], [bits; 32]);
    let settings: Vec<&str> = steps.iter().map(|step| step.settings).collect();
    let tables: String = steps.iter().map(|step| step.tables.replace("{policy}", &policy())).collect();
    let document = DOCUMENT
        .replace("{organisation}", &organisation)
        .replace("{settings}", &settings.join("\n"))
        .replace("{id}", &key.id)
        .replace("{sha256}", &key.sha256)
        .replace("{presented_key}", if height > 1 { "true" } else { "false" })
        .replace("{text}", if height > 2 { "true" } else { "false" })
        .replace("{tables}", &tables);
    Some(Rung { name, organisation, document, key: key.key.expose().to_owned() })
}

fn policy() -> String {
    let narrow = (1..POLICY_RULES).map(|number| {
        format!(
            "[[policy]]\nname = \"rule {number}\"\ndirection = \"input\"\ncategories = [\"health\"]\n\
             confidence_min = 0.9\naction = \"redact\"\n"
        )
    });
    let last = "[[policy]]\nname = \"what never leaves\"\ndirection = \"input\"\n\
                categories = [\"payment\", \"identity\", \"secret\"]\naction = \"redact\"\n";
    narrow.chain([last.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_filters::documents::OrganisationDocument;
    use std::collections::HashSet;

    #[test]
    fn every_rung_is_an_organisation_with_a_key_of_its_own() {
        let rungs = all();
        assert_eq!(rungs.len(), STEPS.len());
        for rung in &rungs {
            let document: OrganisationDocument = toml::from_str(&rung.document).unwrap();
            assert_eq!(document.id, rung.organisation);
        }
        let keys: HashSet<&str> = rungs.iter().map(|rung| rung.key.as_str()).collect();
        assert_eq!(keys.len(), rungs.len());
    }
}
