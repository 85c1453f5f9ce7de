//! How it stands with a share, in one word, and whether its code may be shown. Pure.
//!
//! Status is what the operator found when it looked last. It is believed as far as it speaks of the spec as it is now, of a code
//! that the hub still takes, and of an end that has not passed meanwhile.

use connect_crds::condition::{self, kind, reason};
use connect_crds::{EnvironmentShare, ROTATE_ANNOTATION};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use crate::cluster::codes::Access;
use crate::cluster::shares;
use crate::views::verdict::Blocking;

/// The object is being deleted, which ends the share.
pub const DELETING: &str = "Deleting";

/// It was asked to be revoked, and the operator has not said yet that it is.
pub const REVOKING: &str = "Revoking";

/// The hub holds the share, and its code could not be written where its owner would find it.
pub const SECRET_NOT_WRITABLE: &str = reason::SECRET_NOT_WRITABLE;

/// How it stands.
#[derive(Debug)]
pub struct Standing {
    /// One word.
    pub state: String,
    /// Whether the hub takes the code now.
    pub is_joinable: bool,
    /// Whether it has ended for good.
    pub is_over: bool,
    /// When it ends, or was to end.
    pub expires_at: Option<Timestamp>,
    /// When it ended, as far as that is known.
    pub ended_at: Option<Timestamp>,
    /// What stands in the way of being joinable, while it is not over.
    pub obstacle: Option<Blocking>,
    /// What its owner should know all the same.
    pub notes: Vec<Blocking>,
}

// === impl Standing ===

impl Standing {
    /// Judges the share, and with it whether the code that its Secret holds is one that the hub takes.
    pub fn of(share: &EnvironmentShare, access: &Access, now: Timestamp) -> Self {
        let conditions = conditions(share);
        let expires_at = expires_at(share, now);
        let standing = |state: &str, obstacle| Self {
            state: state.to_owned(),
            is_joinable: false,
            is_over: false,
            expires_at,
            ended_at: None,
            obstacle,
            notes: Vec::new(),
        };
        if share.metadata.deletion_timestamp.is_some() {
            return standing(DELETING, Some(waits(DELETING, "the operator has not let go of it yet")));
        }
        if shares::is_over(share) {
            return Self::over(share, conditions, expires_at);
        }
        if shares::is_unseen(share) {
            return standing(reason::PENDING, Some(waits(reason::PENDING, shares::UNSEEN)));
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Self { is_over: true, ended_at: expires_at, ..standing(reason::EXPIRED, None) };
        }
        if !shares::is_current(share) {
            let state = if share.spec.revoked { REVOKING } else { reason::PENDING };
            return standing(
                state,
                Some(waits(state, "the operator has not acted on its latest change yet")),
            );
        }
        if let Some(unwritten) = conditions.iter().find(|found| found.reason == SECRET_NOT_WRITABLE) {
            return standing(SECRET_NOT_WRITABLE, Some(unwritten.into()));
        }
        if gets_a_new_code(share, access) {
            let words = "it is getting a new code, and the hub may refuse the old one already";
            return standing(reason::PENDING, Some(waits(reason::PENDING, words)));
        }
        Self::by_conditions(share, access, conditions, standing(reason::PENDING, None))
    }

    fn by_conditions(
        share: &EnvironmentShare,
        access: &Access,
        conditions: &[Condition],
        standing: Self,
    ) -> Self {
        let active = condition::find(conditions, kind::ACTIVE);
        if active.is_none_or(|active| active.status != "True") {
            let is_stalled = condition::is_true(conditions, kind::STALLED);
            let state = match active {
                _ if is_stalled => kind::STALLED.to_owned(),
                Some(active) => active.reason.clone(),
                None => standing.state,
            };
            return Self { state, obstacle: Blocking::first(conditions), ..standing };
        }
        let mut notes: Vec<Blocking> =
            Blocking::named(conditions, kind::STALLED, "True").into_iter().collect();
        notes.extend(Blocking::named(conditions, kind::SECRET_MISMATCH, "True"));
        notes.extend(Blocking::named(conditions, kind::ROUTES_CURRENT, "False"));
        if matches!(access, Access::Absent) {
            let words =
                format!("Secret {}, which should hold the code, is missing", share.code_secret_name());
            notes.push(waits(reason::PENDING, &words));
        }
        Self { state: reason::JOINABLE.to_owned(), is_joinable: true, notes, ..standing }
    }

    fn over(share: &EnvironmentShare, conditions: &[Condition], expires_at: Option<Timestamp>) -> Self {
        let active = condition::find(conditions, kind::ACTIVE);
        let state = active.map(|active| active.reason.clone()).unwrap_or_default();
        let ended_at = if state == reason::EXPIRED {
            expires_at
        } else {
            // A share that could not be joined before has had no transition; one whose operator was away ended when that was back.
            active.map(|active| active.last_transition_time.0).max(revoked_at(share))
        };
        let notes = Blocking::named(conditions, kind::READY, "False").into_iter().collect();
        Self { state, is_joinable: false, is_over: true, expires_at, ended_at, obstacle: None, notes }
    }
}

fn conditions(share: &EnvironmentShare) -> &[Condition] {
    share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

/// The end that status names, if it speaks of the spec as it is now; else the spec's.
fn expires_at(share: &EnvironmentShare, now: Timestamp) -> Option<Timestamp> {
    let said = share.status.as_ref().and_then(|status| status.expiration_time.as_ref());
    let said = said.filter(|_| shares::is_current(share)).map(|Time(end)| *end);
    said.or_else(|| share.ends_at(now).ok())
}

/// When somebody asked for the end, as far as the API server has noted it.
fn revoked_at(share: &EnvironmentShare) -> Option<Timestamp> {
    let fields = share.metadata.managed_fields.iter().flatten().filter(|_| share.spec.revoked);
    let of_revoked = fields.filter(|entry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:revoked").is_some())
    });
    of_revoked.filter_map(|entry| entry.time.as_ref()).map(|Time(time)| *time).max()
}

/// Whether the code in the Secret is older than the latest wish for a new one.
fn gets_a_new_code(share: &EnvironmentShare, access: &Access) -> bool {
    match (share.annotations().get(ROTATE_ANNOTATION), access) {
        (Some(wish), Access::Granted(code)) => code.rotation.as_ref() != Some(wish),
        _ => false,
    }
}

/// What no condition says.
fn waits(why: &str, message: &str) -> Blocking {
    Blocking {
        condition: kind::ACTIVE.to_owned(),
        status: "Unknown".to_owned(),
        reason: why.to_owned(),
        message: message.to_owned(),
    }
}
