//! Who hears that this process serves? The log, whoever waits for the ready file, and who tries the demo.

use crate::config::Config;
use crate::listen::{Address, Listen};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use palisade_filters::secret::Secret;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What a demo prints and writes besides.
pub(crate) struct Demo {
    pub(crate) key: Secret,
    pub(crate) organisation: String,
    /// Whether somebody answers in Anthropic's dialect.
    pub(crate) has_anthropic: bool,
}

/// Says where requests are served.
pub(crate) fn announce(
    config: &Config,
    server: &Server,
    ready_file: Option<&Path>,
    demo: Option<&Demo>,
) -> Result<()> {
    let proxy = url(&server.proxy, &config.proxy);
    let admin = url(&server.admin, &config.admin);
    let metrics = url(&server.metrics, &config.metrics);
    tracing::info!(%proxy, %admin, %metrics, "serving");
    if let Some(path) = ready_file {
        let mut ready: Map<String, Value> = Map::new();
        for (name, url) in [("proxy", &proxy), ("admin", &admin), ("metrics", &metrics)] {
            ready.insert(name.to_owned(), url.as_str().into());
        }
        ready.insert("process".to_owned(), std::process::id().into());
        if let Some(demo) = demo {
            let seeded = json!({"key": demo.key.expose(), "org": demo.organisation});
            ready.insert("demo".to_owned(), seeded);
        }
        write_whole(path, &Value::Object(ready).to_string())?;
    }
    if let Some(demo) = demo {
        crate::demo::print(&proxy, demo);
    }
    Ok(())
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
