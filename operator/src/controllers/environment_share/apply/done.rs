//! What was done, one variant for each way in which it can end.

use std::time::Duration;

use connect_crds::HeldEncryption;
use connect_hub::client::{People, ShareRow};
use jiff::Timestamp;

use crate::controllers::Unwritten;
use crate::controllers::environment_share::validate::Over;
use crate::tunnels::HubProblem;

/// What was done.
#[derive(Clone, Debug)]
pub enum Done {
    /// Nothing was to be done.
    Nothing {
        /// What is wrong with the hub.
        problem: Option<HubProblem>,
        /// When to look again.
        look_again: Option<Duration>,
    },
    /// Nothing is known of the hub: status is left as it is.
    Undecided {
        /// Whether there is a code in the Secret.
        shared: bool,
        /// The hub's row of the share.
        row: Option<ShareRow>,
    },
    /// The hub is not ready: what it has was left as it is.
    Left {
        /// What is wrong with the hub.
        problem: Option<HubProblem>,
        /// Whether there is a code in the Secret.
        shared: bool,
        /// The hub's row of the share.
        row: Option<ShareRow>,
    },
    /// The share is at the hub and its code in the Secret.
    Open {
        /// The hub's row of the share.
        row: ShareRow,
        /// What is asked of whoever connects.
        encryption: HeldEncryption,
        /// The code in the Secret is another than before.
        code_changed: bool,
        /// It is another because that was asked for, so that the old one is void.
        rotated: bool,
        /// Whom the rotation has cut off, where the hub tells.
        cut: Option<People>,
        /// When the hub's row has to be renewed.
        look_again: Option<Duration>,
    },
    /// The share is at the hub as it was before.
    Kept {
        /// The hub's row of the share.
        row: Option<ShareRow>,
    },
    /// The hub says that the share has ended, though the object does not.
    EndedAtHub(Over),
    /// The hub refused or did not answer.
    Failed(Failed),
    /// The API server does not let us write.
    Unwritten {
        /// What it does not let us write.
        unwritten: Unwritten,
        /// Whether teammates can join with the code in the Secret.
        shared: bool,
        /// Until when, if that is known.
        good_until: Option<Timestamp>,
        /// Whether the old code is void, because another was asked for.
        rotated: bool,
        /// The hub's row of the share.
        row: Option<ShareRow>,
        /// When to try again.
        look_again: Duration,
    },
    /// The share has ended, and the hub could not be told.
    NotClosed {
        /// What is wrong with the hub.
        problem: HubProblem,
        /// Whether nothing is known of the hub: status is left as it is then.
        undecided: bool,
        /// When to try again.
        look_again: Duration,
    },
    /// The share has ended everywhere.
    Closed {
        /// The hub's row of the share as it was.
        row: Option<ShareRow>,
        /// Whom the end has cut off, where the hub tells.
        cut: Option<People>,
    },
}

/// The hub refused a share or did not answer.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Why.
    pub problem: HubProblem,
    /// What the API server does not let us write besides.
    pub unwritten: Option<Unwritten>,
    /// Whether the code in the Secret is still that of the share.
    pub shared: bool,
    /// Until when teammates can join with it all the same.
    pub good_until: Option<Timestamp>,
    /// The hub's row of the share.
    pub row: Option<ShareRow>,
    /// When to try again.
    pub look_again: Duration,
}

// === impl Done ===

impl Done {
    /// Whether the share is at the hub and its code in the Secret.
    pub fn is_shared(&self) -> bool {
        match self {
            Done::Open { .. } | Done::Kept { .. } => true,
            Done::Undecided { shared, .. }
            | Done::Left { shared, .. }
            | Done::Failed(Failed { shared, .. })
            | Done::Unwritten { shared, .. } => *shared,
            Done::Nothing { .. } | Done::EndedAtHub(_) | Done::NotClosed { .. } | Done::Closed { .. } => {
                false
            }
        }
    }

    /// Whether nothing is known of the hub: status is left as it is.
    pub fn is_undecided(&self) -> bool {
        matches!(self, Done::Undecided { .. } | Done::NotClosed { undecided: true, .. })
    }

    /// What is wrong with the hub.
    pub fn problem(&self) -> Option<&HubProblem> {
        match self {
            Done::Nothing { problem, .. } | Done::Left { problem, .. } => problem.as_ref(),
            Done::Failed(Failed { problem, .. }) | Done::NotClosed { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// What the API server does not let us write.
    pub fn unwritten(&self) -> Option<&Unwritten> {
        match self {
            Done::Unwritten { unwritten, .. } => Some(unwritten),
            Done::Failed(Failed { unwritten, .. }) => unwritten.as_ref(),
            _ => None,
        }
    }

    /// Until when teammates can join with the code in the Secret although something went wrong.
    pub fn good_until(&self) -> Option<Timestamp> {
        match self {
            Done::Failed(Failed { good_until, .. }) | Done::Unwritten { good_until, .. } => *good_until,
            _ => None,
        }
    }

    /// What is asked of whoever connects, where that was looked at.
    pub fn encryption(&self) -> Option<HeldEncryption> {
        if let Done::Open { encryption, .. } = self { Some(*encryption) } else { None }
    }

    /// How the share has ended at the hub, though the object has not.
    pub fn ended_at_hub(&self) -> Option<Over> {
        if let Done::EndedAtHub(over) = self { Some(*over) } else { None }
    }

    /// Whether the code in the Secret is another than before.
    pub fn has_new_code(&self) -> bool {
        matches!(self, Done::Open { code_changed: true, .. })
    }

    /// Whether the code before is void, because another was asked for.
    pub fn is_rotated(&self) -> bool {
        matches!(self, Done::Open { rotated: true, .. } | Done::Unwritten { rotated: true, .. })
    }

    /// Whom an end or a rotation has cut off, where the hub tells.
    pub fn cut(&self) -> Option<People> {
        match self {
            Done::Open { cut, .. } | Done::Closed { cut, .. } => *cut,
            _ => None,
        }
    }

    /// The hub's row of the share: its joins.
    pub fn row(&self) -> Option<&ShareRow> {
        match self {
            Done::Open { row, .. } => Some(row),
            Done::Undecided { row, .. }
            | Done::Left { row, .. }
            | Done::Kept { row }
            | Done::Failed(Failed { row, .. })
            | Done::Unwritten { row, .. }
            | Done::Closed { row, .. } => row.as_ref(),
            Done::Nothing { .. } | Done::EndedAtHub(_) | Done::NotClosed { .. } => None,
        }
    }

    /// When to look again, if that is not left to the next change.
    pub fn look_again(&self) -> Option<Duration> {
        match self {
            Done::Nothing { look_again, .. } | Done::Open { look_again, .. } => *look_again,
            Done::Failed(Failed { look_again, .. })
            | Done::Unwritten { look_again, .. }
            | Done::NotClosed { look_again, .. } => Some(*look_again),
            _ => None,
        }
    }
}
