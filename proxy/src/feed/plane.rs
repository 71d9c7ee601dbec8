//! The control plane elsewhere, as this process has it: whom it follows, and who brings there what was counted.

use super::far::Far;
use crate::config::Config;
use crate::house::House;
use crate::usage::{self, Bringing, Destination};
use anyhow::Result;
use pingora_runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Threads that follow it.
const THREADS: usize = 2;
/// What is under way when the process ends has this long.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// The control plane elsewhere.
pub(crate) struct FarPlane {
    far: Arc<Far>,
    runtime: Runtime,
    usage: Arc<Bringing>,
}

impl FarPlane {
    pub(crate) fn open(config: &Config, house: &House) -> Result<Self> {
        let far = Far::open(&config.data_dir)?;
        tracing::info!("this proxy is {}", far.describe());
        let runtime = Runtime::new_steal(THREADS, "palisade-feed");
        let usage = usage::begin(house, Destination::Far(far.clone()))?;
        let kept = usage.clone();
        runtime.get_handle().spawn(async move { kept.keep().await });
        Ok(Self { far, runtime, usage })
    }

    /// Whom this process follows.
    pub(crate) fn far(&self) -> &Arc<Far> {
        &self.far
    }

    /// Where that is done.
    pub(crate) fn threads(&self) -> &Handle {
        self.runtime.get_handle()
    }

    /// Brings the last of what was counted; not from within a runtime.
    pub(crate) fn end(self) {
        self.threads().block_on(self.usage.finish());
        self.runtime.shutdown_timeout(ENDS_WITHIN);
    }
}
