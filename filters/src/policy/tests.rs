//! Is a policy that followed a hundred changes the one that all documents at once would have made?

use super::compile::{CompileError, Grounds, Source};
use super::{Policy, Provider, Tenant};
use crate::dialect::Dialect;
use crate::dlp::Scanner;
use crate::documents::{OrganisationDocument, PlatformDocument};
use crate::geoip::Location;
use crate::secret::Secret;
use crate::{Knock, Trust};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

/// No rules: what they find is not asked here.
static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::new(Vec::new())));
static HASH_SECRET: LazyLock<Secret> = LazyLock::new(|| Secret::new("00".repeat(32)));
const KEYS: u8 = 5;

/// What is wrong with a document.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    None,
    CannotBeRead,
    DoesNotCompile,
}

/// An organisation's document.
#[derive(Clone, Debug)]
struct Draft {
    version: u64,
    keys: BTreeSet<u8>,
    audience: Option<u8>,
    suspended: bool,
    speaks: Speaks,
    flaw: Flaw,
}

/// What an organisation's document says of the platform.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Nothing,
    Route,
    KillSwitch,
    Service,
    OwnRules,
}

impl Speaks {
    fn text(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Route => "[[routes]]\nname = 'r'\nmodels = ['*']\ntargets = ['p', 'q/large']\n",
            Self::KillSwitch => "[[kill_switches]]\nprovider = 'q'\nreason = 'it is slow'\n",
            Self::Service => {
                "[[dlp.detectors]]\nname = 'presidio'\nentities = ['PERSON']\non_failure = 'allow'\n\
                 [[policy]]\nname = 'people'\ndirection = 'input'\nentities = ['PERSON']\naction = 'redact'\n"
            }
            Self::OwnRules => {
                "[[dlp.rules]]\nid = 'own.badge'\nentity = 'BADGE'\ncategory = 'identity'\ntitle = 'Badge'\n\
                 why = 'doors'\nseverity = 'low'\npattern = 'BADGE-[0-9]{4}'\nconfidence = { base = 0.9 }\n\
                 width_bytes_max = 10\nexamples = ['BADGE-1234']\ncounterexamples = ['BADGE']\nreferences = []\n\
                 [[policy]]\nname = 'badges'\nrules = ['own.*']\naction = 'block'\n"
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Change(BTreeMap<u8, Draft>),
    Gone(BTreeSet<u8>),
    /// Whether organisations are brought under it before those are compiled that could not be used.
    Platform {
        version: u64,
        flaw: Flaw,
        is_first: bool,
    },
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![4 => Just(Flaw::None), 1 => Just(Flaw::CannotBeRead), 1 => Just(Flaw::DoesNotCompile)]
}

fn draft() -> impl Strategy<Value = Draft> {
    let keys = prop::collection::btree_set(0..KEYS, 0..3);
    let audience = prop::option::of(0..3_u8);
    let speaks = prop_oneof![
        Just(Speaks::Nothing),
        Just(Speaks::Route),
        Just(Speaks::KillSwitch),
        Just(Speaks::Service),
        Just(Speaks::OwnRules),
    ];
    (0..4_u64, keys, audience, any::<bool>(), speaks, flaw()).prop_map(
        |(version, keys, audience, suspended, speaks, flaw)| Draft {
            version,
            keys,
            audience,
            suspended,
            speaks,
            flaw,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::btree_map(0..6_u8, draft(), 1..4).prop_map(Step::Change),
        2 => prop::collection::btree_set(0..6_u8, 1..3).prop_map(Step::Gone),
        3 => (0..4_u64, flaw(), any::<bool>())
            .prop_map(|(version, flaw, is_first)| Step::Platform { version, flaw, is_first }),
    ]
}

fn organisation(at: u8, draft: &Draft) -> Source<OrganisationDocument> {
    let mut text = format!("id = 'org-{at}'\nsuspended = {}\n", draft.suspended);
    if matches!(draft.flaw, Flaw::DoesNotCompile) {
        text += "dlp.threshold = 2.0\n";
    }
    let key =
        |key: &u8| format!("[[keys]]\nid = 'key-{key}'\nsha256 = '{}'\n", format!("{key:02x}").repeat(32));
    text.extend(draft.keys.iter().map(key));
    if let Some(audience) = draft.audience {
        let issuer = format!("https://{}.example", audience % 2);
        let names = format!("issuer = '{issuer}'\naudience = '{audience}'\njwks_url = '{issuer}/keys'\n");
        text.extend(["[[jwt_issuers]]\n", &names]);
    }
    text += draft.speaks.text();
    let document = match draft.flaw {
        Flaw::CannotBeRead => Err("it cannot be read".to_owned()),
        Flaw::None | Flaw::DoesNotCompile => Ok(toml::from_str(&text).unwrap()),
    };
    let (flaw, speaks) = (draft.flaw as u64, draft.speaks as u64);
    let audience = draft.audience.map_or(3, u64::from);
    let parts = [draft.version, u64::from(draft.suspended), flaw, audience, speaks];
    let fingerprint = draft.keys.iter().fold(0, |sum, key| sum + (1 << key));
    let fingerprint = parts.iter().fold(fingerprint, |sum, part| sum * 8 + part);
    Source { name: format!("orgs/org-{at}.toml"), fingerprint, document }
}

/// What each version of the platform has besides: another floor, another provider, services, other private hosts.
const VERSIONS: [&str; 4] = [
    "",
    "[[providers]]\nname = 'q'\nbase_url = 'http://q.example'\nmodels = ['*']\n\
     [[floor.rules]]\nname = 'people'\ncategories = ['identity']\naction = 'redact'\n\
     [[detectors]]\nname = 'presidio'\nurl = 'http://presidio.example'\n",
    "[[providers]]\nname = 'q'\nbase_url = 'https://elsewhere.example'\nmodels = ['large']\n\
     [[floor.rules]]\nname = 'people'\ncategories = ['identity']\naction = 'redact'\n\
     [jwt]\nprivate_hosts = ['1.example']\n",
    "[[floor.rules]]\nname = 'all'\naction = 'log'\n[[floor.rules]]\nname = 'sure'\nconfidence_min = 0.8\n\
     action = 'block'\n[[detectors]]\nname = 'presidio'\nurl = 'https://elsewhere.example'\n",
];

fn platform(version: u64, flaw: Flaw) -> Source<PlatformDocument> {
    let provider = "[[providers]]\nname = 'p'\nbase_url = 'http://p.example'\n";
    let models = if matches!(flaw, Flaw::DoesNotCompile) { "models = []" } else { "models = ['*']" };
    let more = VERSIONS[version as usize];
    let document = match flaw {
        Flaw::CannotBeRead => Err("it cannot be read".to_owned()),
        Flaw::None | Flaw::DoesNotCompile => {
            Ok(toml::from_str(&format!("floor.shipped = 'none'\n{provider}{models}\n{more}")).unwrap())
        }
    };
    Source { name: "platform.toml".to_owned(), fingerprint: version * 8 + flaw as u64, document }
}

fn grounds(secrets: &HashMap<String, Secret>) -> Grounds<'_> {
    Grounds { scanner: SCANNER.clone(), secrets, hash_secret: &HASH_SECRET }
}

/// Everything that can be asked of a policy here: who there is, as what, and whose each key is.
fn picture(policy: &Policy) -> impl PartialEq + std::fmt::Debug + use<> {
    let tenants = policy.tenants.iter();
    let tenants: BTreeMap<_, _> = tenants
        .map(|(id, tenant)| (id.to_string(), (tenant.id.clone(), tenant.fingerprints(), sight(tenant))))
        .collect();
    let keys: Vec<_> = (0..KEYS)
        .map(|key| policy.key(&format!("key-{key}"), &[key; 32]).map(|(tenant, _)| tenant.id.clone()))
        .collect();
    let known: BTreeMap<_, Vec<_>> = policy
        .keys
        .iter()
        .map(|(id, owners)| (id.clone(), owners.iter().map(|(owner, _)| owner.clone()).collect()))
        .collect();
    let issuers: BTreeSet<_> = policy
        .issuers
        .iter()
        .flat_map(|(name, of)| {
            of.iter().map(|(audience, (owner, _))| (name.clone(), audience.clone(), owner.clone()))
        })
        .collect();
    (tenants, keys, known, issuers, policy.tenant_count(), policy.platform.fingerprint)
}

/// Everything of an organisation that its platform has a part in.
fn sight(tenant: &Tenant) -> String {
    let Tenant { chains, detection, issuers, .. } = tenant;
    let platform = &tenant.platform;
    let is_its_own =
        |provider: &Arc<Provider>| platform.providers.iter().any(|one| Arc::ptr_eq(one, provider));
    let providers = tenant.routes.providers().map(|provider| (&provider.document, is_its_own(provider)));
    let providers: Vec<_> = providers.collect();
    let services = tenant.services.iter().map(|service| (&service.endpoint.document, service.on_failure));
    let services: Vec<_> = services.collect();
    let switches: Vec<_> = tenant.kill_switches.documents().collect();
    let detectors: Vec<_> = detection.detectors().collect();
    format!("{chains:?} {detectors:?} {issuers:?} {providers:?} {services:?} {switches:?}")
}

/// What it knows of those who are under the platform of this moment.
fn compiled(policy: &Policy) -> BTreeMap<(Arc<str>, [u64; 2]), String> {
    let there = policy.tenants().filter(|tenant| policy.is_under_this(tenant));
    there.map(|tenant| ((tenant.id.clone(), tenant.fingerprints()), sight(tenant))).collect()
}

/// Follows changes, as whoever reads a store does: what changed, what had an error, and what another platform left.
struct Follower {
    policy: Policy,
    broken: BTreeSet<u8>,
}

impl Follower {
    fn step(
        &mut self,
        changed: &BTreeSet<u8>,
        gone: &BTreeSet<u8>,
        drafts: &BTreeMap<u8, Draft>,
        grounds: &Grounds<'_>,
    ) -> Vec<CompileError> {
        let left = self.policy.left().into_iter().map(|id| id.strip_prefix("org-").unwrap().parse().unwrap());
        let mut asked: BTreeSet<u8> = changed.union(&self.broken).copied().chain(left).collect();
        asked.retain(|at| drafts.contains_key(at));
        let sources: Vec<_> = asked.iter().map(|at| organisation(*at, &drafts[at])).collect();
        let gone: Vec<String> = gone.iter().map(|at| format!("org-{at}")).collect();
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        let (policy, errors) = self.policy.clone().with(&sources, &gone, grounds);
        self.policy = policy;
        let is_broken = |at: &u8| errors.iter().any(|error| error.document == format!("orgs/org-{at}.toml"));
        self.broken = asked.into_iter().filter(is_broken).collect();
        errors
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever changes, breaks, goes, comes back or passes its keys on.
    #[test]
    fn following_changes_is_compiling_everything(steps in prop::collection::vec(step(), 1..14)) {
        let secrets = HashMap::new();
        let grounds = grounds(&secrets);
        let mut shared = platform(0, Flaw::None);
        let mut drafts: BTreeMap<u8, Draft> = BTreeMap::new();
        let mut whole = Policy::compile(None, &shared, &[], &grounds).0.unwrap();
        let mut follower = Follower { policy: whole.clone(), broken: BTreeSet::new() };
        for step in steps {
            let (mut changed, mut gone, mut is_brought) = (BTreeSet::new(), BTreeSet::new(), true);
            let mut wrong = Vec::new();
            match step {
                Step::Change(news) => {
                    changed.extend(news.keys().copied());
                    drafts.extend(news);
                }
                Step::Gone(ids) => {
                    drafts.retain(|at, _| !ids.contains(at));
                    gone = ids;
                }
                Step::Platform { version, flaw, is_first } => {
                    shared = platform(version, flaw);
                    is_brought = is_first;
                }
            }
            match Policy::under(Some(&follower.policy), &shared, &grounds) {
                Ok(under) => follower.policy = under,
                Err(error) => wrong.push(error),
            }
            if !is_brought {
                follower.step(&changed, &gone, &drafts, &grounds);
            }
            // In parts, as whoever lets others go first does.
            for some in follower.policy.left().chunks(2) {
                follower.policy = follower.policy.clone().bringing(some);
            }
            wrong.extend(follower.step(&changed, &gone, &drafts, &grounds));
            let sources: Vec<_> = drafts.iter().map(|(at, draft)| organisation(*at, draft)).collect();
            let (next, errors) = Policy::compile(Some(&whole), &shared, &sources, &grounds);
            whole = next.unwrap();
            prop_assert_eq!(picture(&follower.policy), picture(&whole));
            prop_assert_eq!(wrong, errors);
            // And who was brought under a platform is what their document makes of it.
            let Some(fresh) = Policy::compile(None, &shared, &sources, &grounds).0 else { continue };
            let fresh = compiled(&fresh);
            for (of, tenant) in compiled(&follower.policy) {
                prop_assert!(fresh.get(&of).is_none_or(|fresh| *fresh == tenant));
            }
        }
    }
}

fn many(count: usize) -> Vec<Source<OrganisationDocument>> {
    let one = |at: usize| {
        let text = format!(
            "id = 'org-{at}'\nkeys = [{{ id = 'key-{at}', sha256 = '{at:064x}' }}, {{ id = 'other-{at}', sha256 = \
             'f{at:063x}' }}]\n"
        );
        let document = Ok(toml::from_str(&text).unwrap());
        Source { name: format!("orgs/org-{at}.toml"), fingerprint: at as u64, document }
    };
    (0..count).map(one).collect()
}

#[test]
fn keys_are_passed_on_in_one_change_whichever_organisation_is_read_first() {
    let secrets = HashMap::new();
    let grounds = grounds(&secrets);
    let shared = platform(0, Flaw::None);
    let having = |at: u8, keys: &[u8]| {
        let keys = keys.iter().copied().collect();
        let draft = Draft {
            version: 0,
            keys,
            audience: None,
            suspended: false,
            speaks: Speaks::Nothing,
            flaw: Flaw::None,
        };
        organisation(at, &draft)
    };
    let sources = [having(0, &[]), having(1, &[1]), having(2, &[2])];
    let before = Policy::compile(None, &shared, &sources, &grounds).0.unwrap();
    let passed = [having(0, &[1]), having(1, &[2]), having(2, &[])];
    let owners = |policy: &Policy| {
        let owner = |key: u8| policy.key(&format!("key-{key}"), &[key; 32]).map(|(of, _)| of.id.to_string());
        [owner(1), owner(2)].map(Option::unwrap)
    };
    let (all, errors) = Policy::compile(Some(&before), &shared, &passed, &grounds);
    assert_eq!((owners(&all.unwrap()), errors), (["org-0", "org-1"].map(str::to_owned), vec![]));
    let (followed, errors) = before.with(&passed, &[], &grounds);
    assert_eq!((owners(&followed), errors), (["org-0", "org-1"].map(str::to_owned), vec![]));
}

#[test]
fn a_change_of_one_organisation_shares_all_others_with_the_policy_before() {
    let secrets = HashMap::new();
    let grounds = grounds(&secrets);
    let mut sources = many(2_000);
    let (before, errors) = Policy::compile(None, &platform(0, Flaw::None), &sources, &grounds);
    assert_eq!(errors, []);
    let before = before.unwrap();
    sources[7].fingerprint += 10_000;
    let (after, errors) = before.clone().with(&sources[7..8], &["org-9"], &grounds);
    assert_eq!((errors, after.tenant_count(), after.revision()), (vec![], 1_999, before.revision() + 1));
    for (id, tenant) in before.tenants.iter() {
        match (&**id, after.tenants.get(id)) {
            ("org-9", now) => assert!(now.is_none()),
            ("org-7", now) => assert!(now.is_some_and(|now| !Arc::ptr_eq(now, tenant))),
            (_, now) => assert!(now.is_some_and(|now| Arc::ptr_eq(now, tenant)), "{id}"),
        }
    }
    // Two organisations, each with two keys: no more parts of the directories were copied.
    assert_eq!(after.tenants.parts_apart(&before.tenants), 2);
    assert_eq!(after.keys.parts_apart(&before.keys), 4);
    // What reads the same is not compiled again, and a document that says nothing new copies nothing.
    let (same, _) = after.clone().with(&sources[..9], &["nobody"], &grounds);
    assert_eq!(same.tenants.parts_apart(&after.tenants) + same.keys.parts_apart(&after.keys), 0);
}

#[test]
fn what_the_platform_switches_off_is_off_before_any_organisation_is_looked_at() {
    let secrets = HashMap::new();
    let grounds = grounds(&secrets);
    let organisations: Vec<_> = (0..3)
        .map(|at| {
            let (keys, flaw) = (BTreeSet::from([at]), Flaw::None);
            organisation(
                at,
                &Draft { version: 0, keys, audience: None, suspended: false, speaks: Speaks::Nothing, flaw },
            )
        })
        .collect();
    let (before, _) = Policy::compile(None, &platform(0, Flaw::None), &organisations, &grounds);
    let before = before.unwrap();
    let mut switched = platform(0, Flaw::None);
    let switch = "[[kill_switches]]\nprovider = 'p'\nmodel = 'gpt*'\nreason = 'an incident'";
    let switches: PlatformDocument = toml::from_str(switch).unwrap();
    switched.document.as_mut().unwrap().kill_switches = switches.kill_switches;
    let reason = |policy: &Policy| {
        policy.kill_switches.reason(&policy.platform.providers[0], "gpt-5").map(ToString::to_string)
    };
    let after = Policy::under(Some(&before), &switched, &grounds).unwrap();
    assert_eq!((reason(&before), reason(&after)), (None, Some("an incident".to_owned())));
    assert!(after.revision() > before.revision());
    // Nobody is compiled anew for it, and it can be taken back.
    assert!((0..3).all(|at| after.is_in_force(&format!("org-{at}"), organisations[at].fingerprint)));
    let again = Policy::under(Some(&after), &platform(0, Flaw::None), &grounds).unwrap();
    assert_eq!(reason(&again), None);
    // One that names nobody is refused, and changes nothing.
    let mut wrong = switched;
    wrong.document.as_mut().unwrap().kill_switches[0].provider = Some("nobody".to_owned());
    let told = Policy::under(Some(&after), &wrong, &grounds).unwrap_err();
    assert!(told.problem.contains("there is none"), "{told}");
}

#[test]
fn a_key_that_passes_from_one_organisation_to_another_is_taken_in_either_order() {
    let secrets = HashMap::new();
    let grounds = grounds(&secrets);
    let draft = |version, keys: &[u8]| {
        let keys = keys.iter().copied().collect();
        Draft { version, keys, audience: None, suspended: false, speaks: Speaks::Nothing, flaw: Flaw::None }
    };
    for (giver, taker) in [(1, 2), (2, 1)] {
        let sources = [organisation(giver, &draft(0, &[3])), organisation(taker, &draft(0, &[]))];
        let (before, _) = Policy::compile(None, &platform(0, Flaw::None), &sources, &grounds);
        let before = before.unwrap();
        let mut passed = [organisation(giver, &draft(1, &[])), organisation(taker, &draft(1, &[3]))];
        passed.sort_by(|one, two| one.name.cmp(&two.name));
        let (after, errors) = before.clone().with(&passed, &[], &grounds);
        assert_eq!(errors, []);
        let owner = after.key("key-3", &[3; 32]).unwrap().0;
        assert_eq!(*owner.id, format!("org-{taker}"));
        // While the giver has it, it is no one else's.
        let (_, errors) = before.clone().with(&passed[usize::from(taker > giver)..][..1], &[], &grounds);
        assert!(
            errors[0].problem.contains(&format!("belongs to the organisation `org-{giver}`")),
            "{errors:?}"
        );
    }
}

/// Whether anything would serve the model to whoever has this key.
fn is_served(policy: &Policy, key: &str, model: &str) -> bool {
    let credentials = [key.to_owned()];
    let knock = Knock { credentials: &credentials, address: None, certificate: None, now_ms: 1 };
    let caller = crate::identify(policy, &Trust::default(), &knock).unwrap();
    let located = crate::locate(caller, &knock, Location::default()).unwrap();
    let visitor = crate::recognize(located, &knock, &Arc::default()).unwrap();
    crate::routing::server_of(&visitor, model, Dialect::OpenAi).is_some()
}

#[test]
fn what_the_platform_switches_off_is_off_before_organisations_are_compiled_anew() {
    let secrets = HashMap::new();
    let grounds = grounds(&secrets);
    let provider = "[floor]\nshipped = 'none'\n[[providers]]\nname = 'p'\nbase_url = 'https://p.example'\n\
                    models = ['*']\n";
    let platform = |fingerprint: u64, more: &str| {
        let document = Ok(toml::from_str(&format!("{provider}{more}")).unwrap());
        Source { name: "platform".to_owned(), fingerprint, document }
    };
    let key = crate::api_key::create([1; 9], [2; 32]);
    let text = format!(
        "id = 'acme'\ndefault_action = 'allow'\nkeys = [{{ id = '{}', sha256 = '{}' }}]\n",
        key.id, key.sha256
    );
    let document = Ok(toml::from_str(&text).unwrap());
    let acme = Source { name: "orgs/acme.toml".to_owned(), fingerprint: 1, document };
    let (policy, errors) = Policy::compile(None, &platform(1, ""), &[acme], &grounds);
    assert_eq!(errors, []);
    let policy = policy.unwrap();
    let served = |policy: &Policy| ["one", "two"].map(|model| is_served(policy, key.key.expose(), model));
    assert_eq!(served(&policy), [true, true]);
    let off = "[[kill_switches]]\nprovider = 'p'\nmodel = 'one'\nreason = 'it leaks'\n";
    let off = Policy::under(Some(&policy), &platform(2, off), &grounds).unwrap();
    assert_eq!(served(&off), [false, true]);
    let on = Policy::under(Some(&off), &platform(3, ""), &grounds).unwrap();
    assert_eq!(served(&on), [true, true]);
}
