//! A first look: everything in one process, with a seeded organisation and the provider double.

use crate::announce::Demo;
use crate::config::{Config, Flags};
use crate::mock::{self, MockOptions};
use crate::run::{self, Role};
use crate::settings::{Log, Settings};
use anyhow::{Context, Result, bail};
use clap::Args;
use palisade_control::Folder;
use palisade_control::demo::{DemoProviders, seed};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `palisade demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoFlags {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// Any OpenAI-compatible base URL in the place of the built-in double; any model name then passes
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
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
        bail!("the demo is a folder of documents; leave out `[store]`, or run `palisade serve`");
    }
    let log = Log::start(&config)?;
    let folder = Folder::open(&config.data_dir)?;
    let double = match options.upstream {
        Some(_) => None,
        None => Some(start_double()?),
    };
    let has = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let key = seed(
        &folder,
        &DemoProviders {
            double: double.map(|address| format!("http://{address}")),
            upstream: options.upstream,
            openai: has("OPENAI_API_KEY"),
            anthropic: has("ANTHROPIC_API_KEY"),
        },
    )?;
    let has_anthropic = double.is_some() || has("ANTHROPIC_API_KEY");
    let demo = Demo { key: key.key, organisation: "demo".to_owned(), has_anthropic };
    run::run(Settings::new(config, flags, log), Role::Everything, false, Some(&demo))
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
pub(crate) fn print(proxy: &str, demo: &Demo) {
    let key = demo.key.expose();
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
    println!("SDKs of what is above work with these variables, streaming included. Ctrl-C stops.\n");
}
