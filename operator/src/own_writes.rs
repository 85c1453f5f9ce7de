//! Our own writes that the caches have not taken yet: an object is not looked at before it shows them.
//!
//! A look at an object as it was before our last write would do again what is done already, and tell it again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt};

/// How long a cache is waited for. It is told within milliseconds; one that is not is wrong about more than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// The newest version that we have written of each object, while caches may not have it.
#[derive(Debug, Default)]
pub struct OwnWrites(Mutex<HashMap<String, Write>>);

#[derive(Clone, Copy, Debug)]
struct Write {
    version: u64,
    at: Instant,
}

impl OwnWrites {
    /// Notes what the API server answered to a write.
    pub fn wrote<K: Resource<DynamicType = ()>>(&self, written: &K) {
        let (Some(uid), Some(version)) = (written.uid(), version(written)) else { return };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid, Write { version, at: Instant::now() });
    }

    /// Whether this is an object as it was before our last write.
    pub fn outrun<K: Resource<DynamicType = ()>>(&self, cached: &K) -> bool {
        let (Some(uid), Some(version)) = (cached.uid(), version(cached)) else { return false };
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(write) = writes.get(&uid) else { return false };
        let outrun = version < write.version && write.at.elapsed() < PATIENCE;
        if !outrun {
            writes.remove(&uid);
        }
        outrun
    }
}

/// Versions of one resource are numbers that grow; should they be anything else, nothing is waited for.
fn version<K: Resource<DynamicType = ()>>(object: &K) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use connect_crds::{EnvironmentShare, EnvironmentShareSpec};

    use super::*;

    #[test]
    fn an_object_is_looked_at_again_once_it_shows_what_we_wrote() {
        let share = |version: &str| {
            let mut share = EnvironmentShare::new("demo", EnvironmentShareSpec::default());
            share.metadata.uid = Some("u-1".to_owned());
            share.metadata.resource_version = Some(version.to_owned());
            share
        };
        let writes = OwnWrites::default();
        assert!(!writes.outrun(&share("7")));
        writes.wrote(&share("9"));
        assert!(writes.outrun(&share("8")));
        assert!(!writes.outrun(&share("9")));
        assert!(!writes.outrun(&share("8")), "nothing is waited for any more");
        writes.wrote(&share("not a number"));
        assert!(!writes.outrun(&share("8")));
    }
}
