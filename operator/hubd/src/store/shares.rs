//! Shares and their routes: made once, told again, changed by whoever made them.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{EndReason, NewRoute, RouteRow, Store, StoreError, doing, routes, uuid};
use crate::{
    limits::{ENDED_SHARES_PER_WORKSPACE, SHARES_PER_WORKSPACE},
    secret::ShareCode,
    timestamp::Timestamp,
};

/// Tries at a code that nobody has; with 10^14 codes one is enough.
const CODE_TRIES: usize = 5;

/// A share. [`ShareRow::state`] says whether it may be joined.
#[derive(Debug, Clone)]
pub struct ShareRow {
    pub id: Uuid,
    pub code: ShareCode,
    pub workspace: String,
    /// Who made it, and so who may list, change and revoke it.
    pub agent: Uuid,
    pub name: Option<String>,
    pub expires_at: Timestamp,
    pub max_joins: Option<i64>,
    pub end: Option<EndReason>,
    pub routes: Vec<RouteRow>,
}

/// Where a share is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareState {
    Active,
    Expired,
    Revoked,
}

/// A share as asked for.
#[derive(Debug)]
pub struct NewShare<'a> {
    pub workspace: &'a str,
    pub agent: Uuid,
    pub name: Option<&'a str>,
    pub expires_at: Timestamp,
    pub max_joins: Option<i64>,
    pub idempotency_key: Option<&'a str>,
    pub routes: Vec<NewRoute>,
}

/// What became of a creation.
#[derive(Debug)]
pub enum ShareCreation {
    /// There it is: new, or made before with the same idempotency key.
    Done(ShareRow),
    /// Another agent of the workspace has a live share with this idempotency key.
    OtherAgent,
    /// A route names a service that the workspace does not have.
    UnknownService { route: String },
    /// The workspace has [`SHARES_PER_WORKSPACE`] live ones.
    TooMany,
}

/// What is to be different; `None` leaves as it is.
#[derive(Debug, Default)]
pub struct Change {
    pub expires_at: Option<Timestamp>,
    pub max_joins: Option<i64>,
    pub routes: Option<Vec<NewRoute>>,
}

/// What became of a change.
#[derive(Debug)]
pub enum Changed {
    Done(ShareRow),
    UnknownService {
        route: String,
    },
    /// It had ended.
    Ended,
}

pub(super) const COLUMNS: &str = "id, code, workspace_id, agent_id, name, expires_at, max_joins, end_reason";
pub(super) type Columns = (String, String, String, String, Option<String>, i64, Option<i64>, Option<String>);

// === impl ShareRow ===

impl ShareRow {
    /// Where the share is in its life at `now`; the timer may not have written an end yet.
    pub fn state(&self, now: Timestamp) -> ShareState {
        match self.end {
            Some(EndReason::Revoked | EndReason::Deleted | EndReason::Rotated) => ShareState::Revoked,
            Some(EndReason::Expired) => ShareState::Expired,
            None if self.expires_at <= now => ShareState::Expired,
            None => ShareState::Active,
        }
    }

    pub(super) fn new(columns: Columns, routes: Vec<RouteRow>) -> Result<Self, StoreError> {
        let (id, code, workspace, agent, name, expires_at, max_joins, end) = columns;
        let end =
            end.map(|text| EndReason::parse(&text).ok_or(StoreError::Corrupt { what: "the end of a share" }));
        Ok(Self {
            id: uuid(&id, "a share's id")?,
            code: ShareCode::stored(code),
            workspace,
            agent: uuid(&agent, "a share's agent")?,
            name,
            expires_at: Timestamp::from_millis(expires_at),
            max_joins,
            end: end.transpose()?,
            routes,
        })
    }
}

impl Store {
    /// Makes a share, or tells the one that the same agent made with the same idempotency key.
    pub async fn create_share(&self, new: NewShare<'_>) -> Result<ShareCreation, StoreError> {
        let doing = doing("creating a share");
        let mut transaction = self.write.begin().await.map_err(doing)?;
        if let Some(key) = new.idempotency_key {
            let sql = sqlx::AssertSqlSafe(format!(
                "SELECT {COLUMNS} FROM shares WHERE agent_id = $1 AND idempotency_key = $2"
            ));
            let made = sqlx::query_as::<_, Columns>(sql).bind(new.agent.to_string()).bind(key);
            if let Some(columns) = made.fetch_optional(&mut *transaction).await.map_err(doing)? {
                return with_routes(&mut transaction, columns).await.map(ShareCreation::Done);
            }
        }
        let now = Timestamp::now();
        if let Some(key) = new.idempotency_key {
            let sql = "SELECT COUNT(*) FROM shares WHERE workspace_id = $1 AND idempotency_key = $2 AND agent_id <> $3 \
                       AND ended_at IS NULL AND expires_at > $4";
            let others = sqlx::query_scalar::<_, i64>(sql).bind(new.workspace).bind(key);
            let others = others.bind(new.agent.to_string()).bind(now.millis());
            if others.fetch_one(&mut *transaction).await.map_err(doing)? > 0 {
                return Ok(ShareCreation::OtherAgent);
            }
        }
        let sql =
            "SELECT COUNT(*) FROM shares WHERE workspace_id = $1 AND ended_at IS NULL AND expires_at > $2";
        let live = sqlx::query_scalar::<_, i64>(sql).bind(new.workspace).bind(now.millis());
        if live.fetch_one(&mut *transaction).await.map_err(doing)? >= SHARES_PER_WORKSPACE {
            return Ok(ShareCreation::TooMany);
        }
        forget_old(&mut transaction, new.workspace).await?;
        let id = Uuid::new_v4();
        insert_share(&mut transaction, id, &new, now).await?;
        if let Err(route) = routes::insert(&mut transaction, id, new.workspace, new.routes).await? {
            return Ok(ShareCreation::UnknownService { route });
        }
        let share = find(&mut transaction, "id", &id.to_string()).await?;
        transaction.commit().await.map_err(doing)?;
        share.map(ShareCreation::Done).ok_or(StoreError::Corrupt { what: "a share just written" })
    }

    /// The share with this code, whatever its state.
    pub async fn share(&self, code: &ShareCode) -> Result<Option<ShareRow>, StoreError> {
        let mut connection = self.read.acquire().await.map_err(doing("looking for a share"))?;
        find(&mut connection, "code", code.reveal()).await
    }

    /// Changes a live share; the tokens of those who joined by code alone end with it.
    pub async fn change_share(&self, share: &ShareRow, change: Change) -> Result<Changed, StoreError> {
        let doing = doing("changing a share");
        let id = share.id.to_string();
        let Change { expires_at, max_joins, routes } = change;
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let done = sqlx::query(
            "UPDATE shares SET expires_at = COALESCE($1, expires_at), max_joins = COALESCE($2, max_joins) \
             WHERE id = $3 AND ended_at IS NULL AND expires_at > $4",
        )
        .bind(expires_at.map(Timestamp::millis))
        .bind(max_joins)
        .bind(&id)
        .bind(Timestamp::now().millis())
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        if done.rows_affected() == 0 {
            return Ok(Changed::Ended);
        }
        if let Some(expires_at) = expires_at {
            super::expirations::set_guests_end(&mut transaction, &id, expires_at).await?;
        }
        if let Some(routes) = routes {
            let delete = sqlx::query("DELETE FROM share_routes WHERE share_id = $1").bind(&id);
            delete.execute(&mut *transaction).await.map_err(doing)?;
            if let Err(route) = routes::insert(&mut transaction, share.id, &share.workspace, routes).await? {
                return Ok(Changed::UnknownService { route });
            }
        }
        let changed = find(&mut transaction, "id", &id).await?;
        transaction.commit().await.map_err(doing)?;
        changed.map(Changed::Done).ok_or(StoreError::Corrupt { what: "a share just written" })
    }
}

/// Forgets the ended shares of a workspace but the newest.
async fn forget_old(connection: &mut SqliteConnection, workspace: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM shares WHERE workspace_id = $1 AND ended_at <= (SELECT ended_at FROM shares \
               WHERE workspace_id = $1 AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1 OFFSET $2)";
    let old = sqlx::query(sql).bind(workspace).bind(ENDED_SHARES_PER_WORKSPACE);
    old.execute(connection).await.map_err(doing("forgetting old shares"))?;
    Ok(())
}

async fn insert_share(
    connection: &mut SqliteConnection,
    id: Uuid,
    new: &NewShare<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for _ in 0..CODE_TRIES {
        let done = sqlx::query(
            "INSERT INTO shares (id, code, workspace_id, agent_id, name, expires_at, max_joins, idempotency_key, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (code) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(ShareCode::generate()?.reveal())
        .bind(new.workspace)
        .bind(new.agent.to_string())
        .bind(new.name)
        .bind(new.expires_at.millis())
        .bind(new.max_joins)
        .bind(new.idempotency_key)
        .bind(now.millis())
        .execute(&mut *connection)
        .await
        .map_err(doing("writing a share"))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
    }
    Err(StoreError::Corrupt { what: "codes: every drawn one was taken" })
}

/// The share whose `column`, a name of ours, has this value.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    column: &'static str,
    value: &str,
) -> Result<Option<ShareRow>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM shares WHERE {column} = $1"));
    let row = sqlx::query_as::<_, Columns>(sql).bind(value).fetch_optional(&mut *connection).await;
    match row.map_err(doing("looking for a share"))? {
        Some(columns) => with_routes(connection, columns).await.map(Some),
        None => Ok(None),
    }
}

async fn with_routes(connection: &mut SqliteConnection, columns: Columns) -> Result<ShareRow, StoreError> {
    let routes = routes::read(connection, &columns.0).await?;
    ShareRow::new(columns, routes)
}
