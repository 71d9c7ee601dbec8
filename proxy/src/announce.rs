//! Who hears that this process serves? The log, whoever waits for the ready file, and who tries the demo.

use crate::config::Config;
use crate::listen::{Address, Listen};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use palisade_control::access::Link;
use palisade_filters::secret::Secret;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What a demo prints and writes besides.
pub(crate) struct Demo {
    pub(crate) key: Secret,
    /// An API token of the organisation's admin.
    pub(crate) token: Secret,
    pub(crate) organisation: String,
    /// Whether somebody answers in Anthropic's dialect.
    pub(crate) has_anthropic: bool,
    /// Where the passwords are.
    pub(crate) kept: PathBuf,
}

/// What there is to say besides.
pub(crate) struct News<'a> {
    pub(crate) demo: Option<&'a Demo>,
    /// The first operator's invitation, at the very first start.
    pub(crate) first_operator: Option<Link>,
}

/// Says where requests are served.
pub(crate) fn announce(
    config: &Config,
    server: &Server,
    ready_file: Option<&Path>,
    news: &News<'_>,
) -> Result<()> {
    let demo = news.demo;
    let proxy = server.proxy.as_ref().map(|address| url(address, &config.proxy));
    let admin = url(&server.admin, &config.admin);
    let metrics = url(&server.metrics, &config.metrics);
    let api = server.api.as_ref().map(|address| url(address, &config.api));
    let feed = server.feed.as_ref().map(|address| format!("https://{address}"));
    tracing::info!(proxy, %admin, %metrics, api, feed, "serving");
    if let Some(path) = ready_file {
        let mut ready: Map<String, Value> = Map::new();
        for (name, url) in [
            ("proxy", &proxy),
            ("admin", &Some(admin)),
            ("metrics", &Some(metrics)),
            ("api", &api),
            ("feed", &feed),
        ] {
            ready.extend(url.iter().map(|url| (name.to_owned(), url.as_str().into())));
        }
        ready.insert("process".to_owned(), std::process::id().into());
        if let Some(demo) = demo {
            let seeded = json!({"key": demo.key.expose(), "org": demo.organisation});
            ready.insert("demo".to_owned(), seeded);
        }
        write_whole(path, &Value::Object(ready).to_string())?;
    }
    if let (Some(api), Some(link)) = (&api, &news.first_operator) {
        print_invitation(api, link)?;
    }
    if let (Some(demo), Some(proxy), Some(api)) = (demo, &proxy, &api) {
        crate::demo::print(proxy, api, demo);
    }
    Ok(())
}

/// What an operator types to come by an account. It is said to whoever started the process, and not to the log.
pub(crate) fn print_invitation(api: &str, link: &Link) -> Result<()> {
    let (text, name) = (link.text.expose(), &link.invitation.name);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        r#"
An invitation for an operator, `{name}`. It is shown this once, good for seven days, and used once:

  {text}

It makes an account, with a password of 15 characters or more:

  curl -sS {api}/api/v1/invitations/accept -H 'content-type: application/json' \
    -d '{{"invitation": "{text}", "password": "…"}}'

Then sign in, and go on with the cookie and the `csrf` of the answer (docs/api.md):

  curl -sS -i {api}/api/v1/session -H 'content-type: application/json' \
    -d '{{"name": "{name}", "password": "…"}}'
"#
    )?;
    Ok(out.flush()?)
}

/// What to type to get there.
fn url(address: &Address, listen: &Listen) -> String {
    match address {
        Address::Inet(address) => {
            let scheme = if listen.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{address}")
        }
        Address::Unix(_) => address.to_string(),
    }
}

/// Whoever waits for the file finds it whole.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        bail!("`--ready-file` `{}` names no file", path.display());
    };
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    std::fs::write(&beside, text).with_context(|| format!("cannot write `{}`", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write `{}`", path.display()))
}
