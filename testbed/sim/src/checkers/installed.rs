//! What runs is what its publisher has signed.
//!
//! Source: ARCHITECTURE.md ("Nothing of a capsule is written to flash that was not
//! verified"). Whenever an instance is up on a node with a capsule that was not looked at since the node's
//! start, what flash holds of the capsule is verified anew, with code of its own as far as there is: the
//! envelope has the digest that names the capsule, a publisher of the site has signed it, and the module has
//! the digest and the length that it says. At rest all of it is looked at once more.

use super::{Checker, Mesh, Verdict, Violation};
use crate::site::{PUBLISHER, key};
use crate::{Event, Host};
use capmesh_node::trace::Trace;
use capmesh_wire::manifest::UnverifiedManifest;
use capmesh_wire::{Digest, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Installed {
    due: BTreeSet<(Host, Digest)>,
    /// By node.
    verified: BTreeMap<Host, BTreeSet<Digest>>,
}

impl Checker for Installed {
    fn name(&self) -> &'static str {
        "installed"
    }

    fn see(&mut self, _: Instant, event: &Event) -> Verdict {
        match event {
            Event::Booted { host, .. } => {
                self.verified.remove(host);
            }
            Event::Node { host, trace: Trace::Up { capsule, .. } }
                if !self.verified.get(host).is_some_and(|known| known.contains(capsule)) =>
            {
                self.due.insert((*host, *capsule));
            }
            _ => {}
        }
        Ok(())
    }

    fn look(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        for (host, capsule) in std::mem::take(&mut self.due) {
            // It may have been removed again, or the node be off.
            let Some(held) = mesh.held(host, &capsule) else { continue };
            verify(&capsule, held).map_err(|why| {
                let seen = format!("capsule {}: {why}", capsule.prefix());
                Violation::new(self.name(), at, seen).on(host)
            })?;
            self.verified.entry(host).or_default().insert(capsule);
        }
        Ok(())
    }

    fn at_rest(&mut self, at: Instant, mesh: &dyn Mesh) -> Verdict {
        for (host, capsules) in std::mem::take(&mut self.verified) {
            self.due.extend(capsules.into_iter().map(|capsule| (host, capsule)));
        }
        self.look(at, mesh)
    }
}

fn verify(capsule: &Digest, (envelope, module): (&[u8], &[u8])) -> Result<(), String> {
    if Digest::of(envelope) != *capsule {
        return Err("its envelope has another digest".into());
    }
    let manifest = UnverifiedManifest::parse(envelope).map_err(|why| why.to_string())?;
    let publisher = key(PUBLISHER).public_key();
    let manifest = manifest.verify(&publisher).map_err(|why| why.to_string())?;
    if manifest.module_size as usize != module.len() {
        return Err(format!("its module has {} bytes", module.len()));
    }
    if Digest::of(module) != manifest.module_digest {
        return Err("its module has another digest".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
