//! Joins, and the grants that come of them: who may reach what.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    Reach, ServiceRow, ShareRow, ShareState, Store, StoreError, doing,
    shares::{self},
    uuid,
};
use crate::{
    limits::JOINS_PER_SHARE,
    moment::Moment,
    secret::{SecretHash, ShareCode},
};

/// Who wants to join.
#[derive(Debug, Clone, Copy)]
pub enum Joiner<'a> {
    /// An agent that is known.
    Agent(Uuid),
    /// Whoever has the code: an agent is made that owns this token.
    Guest { id: Uuid, token: &'a SecretHash },
}

/// A join that was allowed.
#[derive(Debug)]
pub struct Joined {
    pub share: ShareRow,
    pub join: JoinRow,
    /// How many joins the share has seen, this one included.
    pub count: i64,
}

/// One call of join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRow {
    pub agent: Uuid,
    pub label: String,
    pub at: Moment,
}

/// Why an agent may reach a service.
#[derive(Debug)]
pub struct Access {
    pub service: ServiceRow,
    /// The share that grants it, and its end. `None`: it is of the same workspace.
    pub share: Option<(Uuid, Moment)>,
}

impl Store {
    /// Joins the live share with this code. `None` is the one answer for every reason to refuse.
    pub async fn join(
        &self,
        code: &ShareCode,
        joiner: Joiner<'_>,
        label: &str,
    ) -> Result<Option<Joined>, StoreError> {
        let doing = doing("joining a share");
        let now = Moment::now();
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let Some(share) = shares::find(&mut transaction, "code", code.reveal()).await? else {
            return Ok(None);
        };
        if share.state(now) != ShareState::Active || is_full(&mut transaction, &share, joiner).await? {
            return Ok(None);
        }
        let agent = match joiner {
            Joiner::Agent(id) => id,
            Joiner::Guest { id, token } => {
                insert_guest(&mut transaction, id, token, label, share.expires_at, now).await?;
                id
            }
        };
        let join = JoinRow { agent, label: label.to_owned(), at: now };
        insert_join(&mut transaction, &share, &join).await?;
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM joins WHERE share_id = $1")
            .bind(share.id.to_string())
            .fetch_one(&mut *transaction)
            .await
            .map_err(doing)?;
        transaction.commit().await.map_err(doing)?;
        Ok(Some(Joined { share, join, count }))
    }

    /// How many joins a share has seen, and the newest of them.
    pub async fn joins(&self, share: Uuid, limit: i64) -> Result<(i64, Vec<JoinRow>), StoreError> {
        let doing = doing("reading joins");
        let id = share.to_string();
        let mut connection = self.read.acquire().await.map_err(doing)?;
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM joins WHERE share_id = $1");
        let count = count.bind(&id).fetch_one(&mut *connection).await.map_err(doing)?;
        let rows = sqlx::query_as::<_, (String, String, i64)>(
            "SELECT agent_id, agent_label, joined_at FROM joins WHERE share_id = $1 ORDER BY joined_at DESC, id LIMIT $2",
        );
        let rows = rows.bind(&id).bind(limit).fetch_all(&mut *connection).await.map_err(doing)?;
        let row = |(agent, label, at): (String, _, _)| {
            Ok(JoinRow { agent: uuid(&agent, "who joined")?, label, at: Moment::from_millis(at) })
        };
        Ok((count, rows.into_iter().map(row).collect::<Result<_, StoreError>>()?))
    }

    /// Whether an agent of `workspace` (`None`: of none) may reach a service now. `None` says nothing about why not.
    pub async fn access(
        &self,
        agent: Uuid,
        workspace: Option<&str>,
        service: Uuid,
    ) -> Result<Option<Access>, StoreError> {
        let Some(service) = self.service(service).await? else { return Ok(None) };
        if service.reach == Reach::Workspace && workspace == Some(service.workspace.as_str()) {
            return Ok(Some(Access { service, share: None }));
        }
        let granted = sqlx::query_as::<_, (String, i64)>(
            "SELECT s.id, s.expires_at FROM grants g JOIN shares s ON s.id = g.share_id \
             JOIN share_routes r ON r.share_id = s.id WHERE g.agent_id = $1 AND r.service_id = $2 \
             AND s.workspace_id = $3 AND s.ended_at IS NULL AND s.expires_at > $4 ORDER BY s.expires_at DESC LIMIT 1",
        )
        .bind(agent.to_string())
        .bind(service.id.to_string())
        .bind(&service.workspace)
        .bind(Moment::now().millis())
        .fetch_optional(&self.read)
        .await
        .map_err(doing("looking for a grant"))?;
        let Some((share, expires_at)) = granted else { return Ok(None) };
        Ok(Some(Access { service, share: Some((uuid(&share, "a grant")?, Moment::from_millis(expires_at))) }))
    }

    /// Whether an agent holds a grant of any live share: what keeps a guest alive.
    pub async fn has_live_grant(&self, agent: Uuid) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM grants g JOIN shares s ON s.id = g.share_id \
             WHERE g.agent_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2",
        )
        .bind(agent.to_string())
        .bind(Moment::now().millis())
        .fetch_one(&self.read)
        .await
        .map_err(doing("looking for a grant"))?;
        Ok(count > 0)
    }

    /// The live shares that an agent holds a grant of, and when each ends.
    pub async fn granted_shares(&self, agent: Uuid) -> Result<Vec<(Uuid, Moment)>, StoreError> {
        let rows = sqlx::query_as::<_, (String, i64)>(
            "SELECT s.id, s.expires_at FROM grants g JOIN shares s ON s.id = g.share_id \
             WHERE g.agent_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2",
        )
        .bind(agent.to_string())
        .bind(Moment::now().millis())
        .fetch_all(&self.read)
        .await
        .map_err(doing("looking for granted shares"))?;
        rows.iter().map(|(id, end)| Ok((uuid(id, "a grant")?, Moment::from_millis(*end)))).collect()
    }

    /// The agents that joined a share.
    pub async fn granted_agents(&self, share: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let rows = sqlx::query_scalar::<_, String>("SELECT agent_id FROM grants WHERE share_id = $1");
        let rows =
            rows.bind(share.to_string()).fetch_all(&self.read).await.map_err(doing("reading grants"))?;
        rows.iter().map(|id| uuid(id, "a grant")).collect()
    }
}

/// Whether nobody else may join: `maxJoins` counts agents, so one that has joined may come again.
async fn is_full(
    connection: &mut SqliteConnection,
    share: &ShareRow,
    joiner: Joiner<'_>,
) -> Result<bool, StoreError> {
    let doing = doing("counting joins");
    let id = share.id.to_string();
    let joins = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM joins WHERE share_id = $1");
    if joins.bind(&id).fetch_one(&mut *connection).await.map_err(doing)? >= JOINS_PER_SHARE {
        return Ok(true);
    }
    let Some(max_joins) = share.max_joins else { return Ok(false) };
    if let Joiner::Agent(agent) = joiner {
        let granted =
            sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM grants WHERE share_id = $1 AND agent_id = $2");
        let granted =
            granted.bind(&id).bind(agent.to_string()).fetch_one(&mut *connection).await.map_err(doing)?;
        if granted > 0 {
            return Ok(false);
        }
    }
    let grants = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM grants WHERE share_id = $1");
    Ok(grants.bind(&id).fetch_one(&mut *connection).await.map_err(doing)? >= max_joins)
}

async fn insert_guest(
    connection: &mut SqliteConnection,
    id: Uuid,
    token: &SecretHash,
    label: &str,
    expires_at: Moment,
    now: Moment,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO agents (id, label, token_hash, token_expires_at, created_at, last_seen_at, connected_at) \
         VALUES ($1, $2, $3, $4, $5, $5, $5)",
    )
    .bind(id.to_string())
    .bind(label)
    .bind(token.as_str())
    .bind(expires_at.millis())
    .bind(now.millis())
    .execute(connection)
    .await
    .map_err(doing("writing a guest"))?;
    Ok(())
}

async fn insert_join(
    connection: &mut SqliteConnection,
    share: &ShareRow,
    join: &JoinRow,
) -> Result<(), StoreError> {
    let doing = doing("writing a join");
    sqlx::query(
        "INSERT INTO joins (id, share_id, agent_id, agent_label, joined_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(share.id.to_string())
    .bind(join.agent.to_string())
    .bind(&join.label)
    .bind(join.at.millis())
    .execute(&mut *connection)
    .await
    .map_err(doing)?;
    sqlx::query(
        "INSERT INTO grants (share_id, agent_id) VALUES ($1, $2) ON CONFLICT (share_id, agent_id) DO NOTHING",
    )
    .bind(share.id.to_string())
    .bind(join.agent.to_string())
    .execute(connection)
    .await
    .map_err(doing)?;
    Ok(())
}
