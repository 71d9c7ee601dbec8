//! A first look: everything in one process, with a seeded organisation and the provider double.
//!
//! It serves as `palisade serve` does over a store in files of its own, and begins with what an operator would do first
//! (`control::demo`). In a store that is somebody's nothing is seeded: one that is named is refused.

use crate::announce::Demo;
use crate::config::{Config, Flags};
use crate::mock::{self, MockOptions};
use crate::plane::Plane;
use crate::run::{self, Role};
use crate::settings::{Log, Settings};
use crate::store::StoreConfig;
use anyhow::{Context, Result, bail};
use clap::Args;
use palisade_control::Folder;
use palisade_control::demo::{self, DemoProviders, Kept};
use palisade_filters::secret::Secret;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Flags of `palisade demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoFlags {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Any OpenAI-compatible base URL in the place of the built-in double; any model name then passes
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
}

/// What is to be done with the store before anything is served.
pub(crate) struct Seeding {
    kept: Kept,
    providers: DemoProviders,
}

/// Runs the demo.
pub(crate) fn demo(options: DemoFlags) -> Result<()> {
    let mut flags = options.flags;
    if flags.data_dir.is_none() && flags.config.is_none() {
        flags.data_dir = Some(PathBuf::from("./palisade-data/demo"));
    }
    let mut config = Config::load(&flags)?;
    if flags.config.is_none() {
        // Nobody balances to a demo.
        config.drain_grace = Duration::ZERO;
    }
    if config.store.is_some() {
        bail!(
            "the demo makes a store of its own in the data folder, with accounts whose passwords lie in a file; leave out \
             `[store]`, or run `palisade serve`"
        );
    }
    let store = StoreConfig::in_files();
    let mut providers = DemoProviders {
        double: None,
        upstream: options.upstream,
        openai: credential("OPENAI_API_KEY"),
        anthropic: credential("ANTHROPIC_API_KEY"),
    };
    providers.check()?;
    let log = Log::start(&config)?;
    let kept = Kept::open(&Folder::open(&config.data_dir)?, store.is_sealed(&config))?;
    if providers.upstream.is_none() {
        providers.double = Some(format!("http://{}", start_double()?));
    }
    config.store = Some(store);
    let seeding = Seeding { kept, providers };
    run::run(Settings::new(config, flags, log), Role::Everything, false, Some(seeding))
}

fn credential(variable: &str) -> Option<Secret> {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).map(Secret::new)
}

impl Seeding {
    /// Does it, through the control plane of this process.
    pub(crate) fn sow(self, plane: &Plane) -> Result<Demo> {
        let Self { mut kept, providers } = self;
        let seeded = demo::seed(plane.api(), plane.access(), &mut kept, &providers, SystemTime::now());
        let seeded = plane.threads().block_on(seeded).with_context(|| {
            let folder = kept.path().with_file_name("");
            format!("the demo cannot go on in `{}`; remove that folder to begin anew", folder.display())
        })?;
        Ok(Demo {
            key: seeded.key,
            token: seeded.token,
            organisation: demo::DEMO.to_owned(),
            has_anthropic: providers.has_anthropic(),
            kept: kept.path(),
        })
    }
}

/// The double on a thread of its own, on a free port.
fn start_double() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the provider double cannot listen")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("palisade-double".to_owned()).spawn(move || {
        runtime.block_on(async {
            let served = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => mock::serve(listener, MockOptions::default(), std::future::pending()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the provider double ended");
            }
        });
    })?;
    Ok(address)
}

/// What to paste.
#[expect(clippy::print_stdout, reason = "what a user reads")]
pub(crate) fn print(proxy: &str, api: &str, demo: &Demo) {
    let (key, token, kept) = (demo.key.expose(), demo.token.expose(), demo.kept.display());
    println!(
        r#"
Palisade is serving a demo organisation. In another terminal:

  export OPENAI_BASE_URL={proxy}/v1
  export OPENAI_API_KEY={key}

A first request; the built-in double echoes what reached it:

  curl -s {proxy}/v1/chat/completions -H "authorization: Bearer {key}" \
    -H "content-type: application/json" \
    -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Say hello"}}]}}'

A prompt that holds a card number, which never leaves:

  curl -s {proxy}/v1/chat/completions -H "authorization: Bearer {key}" \
    -H "content-type: application/json" \
    -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"My card is 4111 1111 1111 1111, thanks"}}]}}'
"#
    );
    if demo.has_anthropic {
        println!(
            r#"The same in Anthropic's API, whose SDKs take ANTHROPIC_BASE_URL={proxy}:

  curl -s {proxy}/v1/messages -H "x-api-key: {key}" -H "anthropic-version: 2023-06-01" \
    -H "content-type: application/json" -d '{{"model":"claude-haiku-4-5","max_tokens":64,
    "messages":[{{"role":"user","content":"My card is 4111 1111 1111 1111, thanks"}}]}}'
"#
        );
    }
    println!(
        r#"The organisation's admin says over the admin API what else must not leave; a second later, it does not:

  curl -s {api}/api/v1/orgs/demo/apply -H "authorization: Bearer {token}" \
    -H "content-type: application/json" -d '{{"document":{{"id":"demo","dlp":{{"keyword_lists":[
    {{"id":"own.projects","entity":"PROJECT","category":"secret","terms":["Nightingale"]}}]}}}}}}'

  curl -s {proxy}/v1/chat/completions -H "authorization: Bearer {key}" \
    -H "content-type: application/json" \
    -d '{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Is Nightingale late again?"}}]}}'

What else can be changed: docs/api.md. The passwords of `operator` and `admin`: {kept}.
SDKs of what is above work with these variables, streaming included. Ctrl-C stops.
"#
    );
}
