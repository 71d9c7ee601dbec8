//! What becomes of an organisation when the platform is another one?
//!
//! What an organisation says of the platform, it says by names: providers of its routes and kill switches, services
//! that its prompts are asked of. So what it was compiled to is put under another platform by looking names up, and
//! its document is not needed, nor anything compiled that it looks for. Proves that this is what its document would
//! have been compiled to; where a name is unknown, the document has to say what is wrong.

use super::{Platform, Policy, Tenant};
use std::sync::Arc;

impl Tenant {
    /// The same organisation under another platform; none if that does not have what it speaks of.
    fn under(&self, platform: &Arc<Platform>) -> Option<Self> {
        // Numbers of detectors count from those of the platform's rules.
        if !Arc::ptr_eq(&self.platform.scanner, &platform.scanner) {
            return None;
        }
        let services = self.services.iter().map(|service| service.under(&platform.detectors).map(Arc::new));
        Some(Self {
            services: services.collect::<Option<_>>()?,
            routes: self.routes.under(&platform.providers)?,
            kill_switches: self.kill_switches.under(&platform.providers)?,
            chains: self.chains.under(&platform.floor, &self.detection),
            issuers: self.issuers.iter().map(|issuer| issuer.under(platform)).collect(),
            platform: platform.clone(),
            ..self.clone()
        })
    }
}

impl Policy {
    /// Organisations that are still what they were under a platform before.
    pub fn left(&self) -> Vec<Arc<str>> {
        let left = self.tenants.iter().filter(|(_, tenant)| !self.is_under_this(tenant));
        left.map(|(id, _)| id.clone()).collect()
    }

    /// The policy that follows this one if some of those who are left are put under the platform of this moment, as
    /// they are: also those whose newest document cannot be used. Who speaks of what is not there stays as it was, and
    /// their documents, given to [`Policy::with`], say why.
    #[must_use]
    pub fn bringing(mut self, left: &[Arc<str>]) -> Self {
        self.revision += 1;
        self.bring(left);
        self
    }

    pub(super) fn bring(&mut self, left: &[Arc<str>]) {
        for id in left {
            let tenant = self.tenants.get(id).filter(|tenant| !self.is_under_this(tenant));
            let Some(before) = tenant.cloned() else { continue };
            let Some(next) = before.under(&self.platform).map(Arc::new) else { continue };
            let mut issuers = before.issuers.iter().zip(next.issuers.iter());
            if issuers.all(|(before, next)| Arc::ptr_eq(before, next)) {
                self.tenants.insert(next.id.clone(), next);
            } else {
                self.put(&next);
            }
        }
    }

    pub(super) fn is_under_this(&self, tenant: &Tenant) -> bool {
        Arc::ptr_eq(&tenant.platform, &self.platform)
    }
}
