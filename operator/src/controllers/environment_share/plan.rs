//! Decides what the hub should have of a share. Pure.

use super::dereference::Found;
use super::validate::{Over, Validated};
use crate::tunnels::{HubProblem, HubState};

/// What the hub should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing yet, for reasons that status says.
    Nothing,
    /// What it has: nothing is known of the hub now, so nothing is changed there.
    Leave,
    /// A share with the validated routes and end.
    Open,
    /// Nothing any more.
    Close(Over),
}

impl Plan {
    /// Whether the hub is or was told something, so that the object must not vanish without telling it the end.
    pub fn touches_the_hub(&self) -> bool {
        matches!(self, Plan::Open)
    }
}

/// Decides.
pub fn plan(valid: &Validated, found: &Found) -> Plan {
    if let Some(over) = valid.over {
        return Plan::Close(over);
    }
    if valid.refused.is_some() || valid.not_yet.is_some() {
        return Plan::Nothing;
    }
    match &found.hub {
        Ok((_, HubState::Ready)) => {
            let empty_is_allowed = found.hub.as_ref().is_ok_and(|(hub, _)| hub.has("empty-share"));
            if valid.routes.is_empty() && found.code.is_none() && !empty_is_allowed {
                Plan::Nothing
            } else {
                Plan::Open
            }
        }
        _ => Plan::Leave,
    }
}

/// What is wrong with the hub, seen from the object.
pub fn hub_problem(found: &Found) -> Option<HubProblem> {
    found.hub.as_ref().ok().and_then(|(_, state)| state.problem())
}
