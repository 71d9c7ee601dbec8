//! Where a request goes, for any documents and any state of the targets: only where it may, once, and somewhere.

use crate::keys::key;
use crate::memory::{MEMORY, policy, visitor};
use bytes::Bytes;
use palisade_filters::quota::Receipt;
use palisade_filters::routing::breaker::BreakerState;
use palisade_filters::routing::{Itinerary, Passed, TargetState};
use palisade_filters::{self as filters, Outlook, Policy, Refusal, Surface};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

const PROVIDERS: usize = 3;
const MODELS: usize = 3;

type Target = (usize, usize);

fn name((provider, model): Target) -> String {
    format!("p{provider}/m{model}")
}

/// What an operator and an admin may have written.
#[derive(Clone, Debug)]
struct Documents {
    targets: Vec<Target>,
    denied: BTreeSet<Target>,
    switched_off: BTreeSet<Target>,
    switched_off_here: BTreeSet<Target>,
    strategy: &'static str,
}

impl Documents {
    fn policy(&self) -> Policy {
        let switch = |target: &Target| {
            let (provider, model) = (target.0, target.1);
            format!("[[kill_switches]]\nprovider = \"p{provider}\"\nmodel = \"m{model}\"\nreason = \"x\"\n")
        };
        let provider = |one: usize| {
            format!(
                "[[providers]]\nname = \"p{one}\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"*\"]\n"
            )
        };
        let mut platform = (0..PROVIDERS).map(provider).collect::<Vec<_>>().concat();
        platform.extend(self.switched_off.iter().map(switch));
        let names = |targets: &mut dyn Iterator<Item = &Target>| -> Vec<String> {
            targets.map(|target| name(*target)).collect()
        };
        let mut organisation = format!(
            "id = \"acme\"\nmodel_access = {{ rules = [{{ deny = {:?} }}] }}\n",
            names(&mut self.denied.iter())
        );
        organisation.extend(self.switched_off_here.iter().map(switch));
        organisation += &format!(
            "[[routes]]\nname = \"r\"\nmodels = [\"best\"]\ntargets = {:?}\n{}\n{}",
            names(&mut self.targets.iter()),
            self.strategy,
            key("acme").table
        );
        policy(&platform, &[&organisation])
    }

    fn may_use(&self) -> BTreeSet<Target> {
        self.targets.iter().copied().filter(|target| !self.denied.contains(target)).collect()
    }

    fn is_off(&self, target: Target) -> bool {
        self.switched_off.contains(&target) || self.switched_off_here.contains(&target)
    }
}

fn target() -> impl Strategy<Value = Target> {
    (0..PROVIDERS, 0..MODELS)
}

fn documents() -> impl Strategy<Value = Documents> {
    let some = || prop::collection::btree_set(target(), 0..4);
    let strategy = prop::sample::select(vec![
        "",
        "strategy = \"weighted\"",
        "strategy = \"sticky\"\nby = \"conversation\"",
        "strategy = \"sticky\"\nby = \"key\"",
        "strategy = \"least_latency\"",
    ]);
    (prop::collection::vec(target(), 1..9), some(), some(), some(), strategy).prop_map(
        |(targets, denied, switched_off, switched_off_here, strategy)| Documents {
            targets,
            denied,
            switched_off,
            switched_off_here,
            strategy,
        },
    )
}

fn outlook() -> impl Strategy<Value = Outlook> {
    let breaker = prop_oneof![
        2 => Just(BreakerState::Closed),
        1 => any::<bool>().prop_map(|is_probed| BreakerState::HalfOpen { is_probed }),
        1 => any::<u64>().prop_map(|until_ms| BreakerState::Open { until_ms }),
    ];
    let state = (breaker, proptest::option::of(0..9_000u64))
        .prop_map(|(breaker, millis)| TargetState { breaker, first_byte: millis.map(Duration::from_millis) });
    (prop::collection::vec(state, 0..9), any::<u64>()).prop_map(|(states, random)| Outlook {
        states,
        random,
        turn: random,
    })
}

fn way(policy: &Policy, outlook: &Outlook) -> Result<Itinerary, Refusal> {
    let visitor = visitor(policy, &key("acme").secret);
    let body = r#"{"model":"best","messages":[{"role":"user","content":"hi"}]}"#;
    let prompt = filters::read(&visitor, Surface::ChatCompletions, Bytes::from(body))?;
    let cleared = filters::clear(&visitor, &MEMORY, prompt)?;
    let application = filters::apply(&visitor, &cleared)?;
    let receipt = Receipt { ask: application.ask().clone(), ..Receipt::default() };
    filters::admit(application, Ok(receipt), outlook).map(|admission| admission.itinerary)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// No order holds a target that is denied, switched off, or in it already; what could be tried is never missing.
    #[test]
    fn nothing_leads_where_it_may_not_go(documents in documents(), outlook in outlook()) {
        let policy = documents.policy();
        let may_use = documents.may_use();
        let may_go: BTreeSet<String> =
            may_use.iter().filter(|target| !documents.is_off(**target)).map(|target| name(*target)).collect();
        let itinerary = match way(&policy, &outlook) {
            Ok(itinerary) => itinerary,
            Err(Refusal::ModelNotFound(_)) => {
                prop_assert!(may_use.is_empty());
                return Ok(());
            }
            Err(Refusal::ModelDisabled(disabled)) => {
                prop_assert!(may_go.is_empty() && !may_use.is_empty());
                prop_assert_eq!(disabled.switched_off.len(), may_use.len());
                return Ok(());
            }
            Err(other) => return Err(TestCaseError::fail(other.message())),
        };
        let tried: Vec<String> = itinerary
            .targets
            .iter()
            .map(|target| format!("{}/{}", target.provider().document.name, target.model()))
            .collect();
        let once: BTreeSet<String> = tried.iter().cloned().collect();
        prop_assert_eq!(once.len(), tried.len());
        prop_assert!(!tried.is_empty() && once.is_subset(&may_go), "{tried:?} of {may_go:?}");
        let passed: BTreeSet<String> = itinerary
            .passed_over
            .iter()
            .filter(|passed| passed.why == Passed::Open)
            .map(|passed| format!("{}/{}", passed.provider, passed.model))
            .collect();
        prop_assert_eq!(once.union(&passed).cloned().collect::<BTreeSet<_>>(), may_go);
        prop_assert!(once.is_disjoint(&passed));
    }
}

#[test]
fn what_is_written_wrongly_about_routes_is_named() {
    let platform = "[[providers]]\nname = \"p\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodels = [\"*\"]";
    for (wrong, named) in [
        ("strategy = \"sticky\"", "`by`"),
        ("by = \"key\"", "sticky"),
        ("weights = [1]", "weighted"),
        ("strategy = \"weighted\"\nweights = [1, 2]", "2 `weights` for 1 `targets`"),
        ("strategy = \"weighted\"\nweights = [0]", "more than 0"),
        ("endpoints = [\"chat\"]", "chat_completions"),
        ("latency_max = \"0s\"", "latency_max"),
    ] {
        let route = format!(
            "routes = [{{ name = \"r\", models = [\"m\"], targets = [\"p\"], {} }}]",
            wrong.replace('\n', ", ")
        );
        assert!(problem(platform, &route).contains(named), "{wrong}: {}", problem(platform, &route));
    }
    for (wrong, named) in [
        ("{ reason = \"x\" }", "`provider`, a `model`"),
        ("{ provider = \"q\", reason = \"x\" }", "`q`"),
        ("{ model = \"m\", reason = \" \" }", "`reason`"),
    ] {
        let switches = format!("kill_switches = [{wrong}]");
        assert!(problem(platform, &switches).contains(named), "{wrong}: {}", problem(platform, &switches));
        let platform = format!("{switches}\n{platform}");
        assert!(problem(&platform, "").contains(named), "{wrong}: {}", problem(&platform, ""));
    }
}

/// What keeps these documents from being used.
fn problem(platform: &str, organisation: &str) -> String {
    let organisation = format!("id = \"acme\"\n{organisation}\n{}", key("acme").table);
    let (_, errors) = crate::memory::compile(platform, &[&organisation]);
    errors.first().map(|error| error.problem.clone()).unwrap_or_default()
}
