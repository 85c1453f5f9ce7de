//! How many connections each route carried when that was counted last.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use connect_crds::ServiceExpose;
use kube::runtime::reflector::ObjectRef;

/// What was counted last, by ServiceExpose; nothing before the first time. Routes without a connection are left out.
#[derive(Debug, Default)]
pub struct ConnectionCounts(Mutex<Option<Counts>>);

/// Open connections by ServiceExpose.
pub type Counts = HashMap<ObjectRef<ServiceExpose>, i64>;

// === impl ConnectionCounts ===

impl ConnectionCounts {
    /// The route's connections when they were counted last.
    pub fn of(&self, expose: &ServiceExpose) -> Option<i64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.as_ref().map(|counts| counts.get(&ObjectRef::from_obj(expose)).copied().unwrap_or(0))
    }

    /// Keeps what was counted now and says whose count is another.
    pub fn replace(&self, new: Counts) -> Vec<ObjectRef<ServiceExpose>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = counts.take().unwrap_or_default();
        let gone = old.keys().filter(|route| !new.contains_key(route));
        let changed =
            new.keys().filter(|route| old.get(route) != new.get(route)).chain(gone).cloned().collect();
        *counts = Some(new);
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_whose_count_has_changed_are_looked_at() {
        let route = |name: &str| ObjectRef::<ServiceExpose>::new(name).within("shop");
        let connections = ConnectionCounts::default();
        assert!(connections.replace(Counts::new()).is_empty());
        assert_eq!(connections.replace(Counts::from([(route("api"), 2)])), [route("api")]);
        assert!(connections.replace(Counts::from([(route("api"), 2)])).is_empty());
        let mut changed = connections.replace(Counts::from([(route("web"), 1)]));
        changed.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(changed, [route("api"), route("web")]);
    }
}
