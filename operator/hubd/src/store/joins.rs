//! Joins, and the grants that come of them: who may reach what.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    EndReason, Reach, ServiceRow, ShareRow, ShareState, Store, StoreError, doing,
    shares::{self},
    uuid,
};
use crate::{
    limits::{AGENTS_PER_SHARE, JOINS_KEPT},
    secret::{SecretHash, ShareCode},
    timestamp::Timestamp,
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

/// What became of somebody who wants to join.
#[derive(Debug)]
pub enum JoinOutcome {
    Joined(Box<Joined>),
    /// No live share has this code, or it has all the agents that its maker allows; nobody hears which.
    Refused,
    /// It has [`AGENTS_PER_SHARE`] agents.
    Full,
}

/// One call of join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRow {
    pub agent: Uuid,
    pub label: String,
    pub at: Timestamp,
}

/// Why an agent may reach a service.
#[derive(Debug)]
pub struct Access {
    pub service: ServiceRow,
    /// The share that grants it, and its end. `None`: it is of the same workspace.
    pub share: Option<(Uuid, Timestamp)>,
}

impl Store {
    /// Joins the live share with this code.
    pub async fn join(
        &self,
        code: &ShareCode,
        joiner: Joiner<'_>,
        label: &str,
    ) -> Result<JoinOutcome, StoreError> {
        let doing = doing("joining a share");
        let now = Timestamp::now();
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let share = shares::find(&mut transaction, "code", code.reveal()).await?;
        let Some(share) = share.filter(|share| share.state(now) == ShareState::Active) else {
            return Ok(JoinOutcome::Refused);
        };
        match room(&mut transaction, &share, joiner).await? {
            Room::Free => {}
            Room::AsManyAsAsked => return Ok(JoinOutcome::Refused),
            Room::Full => return Ok(JoinOutcome::Full),
        }
        let agent = match joiner {
            Joiner::Agent(id) => id,
            Joiner::Guest { id, token } => {
                insert_guest(&mut transaction, id, token, label, share.expires_at, now).await?;
                id
            }
        };
        let join = JoinRow { agent, label: label.to_owned(), at: now };
        let count = insert_join(&mut transaction, &share, &join).await?;
        transaction.commit().await.map_err(doing)?;
        Ok(JoinOutcome::Joined(Box::new(Joined { share, join, count })))
    }

    /// How many joins a share has seen, and the newest of them.
    pub async fn joins(&self, share: Uuid, limit: i64) -> Result<(i64, Vec<JoinRow>), StoreError> {
        let doing = doing("reading joins");
        let id = share.to_string();
        let mut connection = self.read.acquire().await.map_err(doing)?;
        let count = sqlx::query_scalar::<_, i64>("SELECT join_count FROM shares WHERE id = $1").bind(&id);
        let count = count.fetch_optional(&mut *connection).await.map_err(doing)?.unwrap_or(0);
        let rows = sqlx::query_as::<_, (String, String, i64)>(
            "SELECT agent_id, agent_label, joined_at FROM joins WHERE share_id = $1 ORDER BY joined_at DESC, id LIMIT $2",
        );
        let rows = rows.bind(&id).bind(limit).fetch_all(&mut *connection).await.map_err(doing)?;
        let row = |(agent, label, at): (String, _, _)| {
            Ok(JoinRow { agent: uuid(&agent, "who joined")?, label, at: Timestamp::from_millis(at) })
        };
        Ok((count, rows.into_iter().map(row).collect::<Result<_, StoreError>>()?))
    }

    /// Whether an agent has joined a share.
    pub async fn has_grant(&self, share: Uuid, agent: Uuid) -> Result<bool, StoreError> {
        let mut connection = self.read.acquire().await.map_err(doing("looking for a grant"))?;
        is_granted(&mut connection, &share.to_string(), agent).await
    }

    /// How many agents have joined a share.
    pub async fn count_granted(&self, share: Uuid) -> Result<i64, StoreError> {
        let mut connection = self.read.acquire().await.map_err(doing("counting grants"))?;
        count_granted(&mut connection, &share.to_string()).await
    }

    /// The guests of a share, the one that was seen least of late first.
    pub async fn guests(&self, share: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let rows = sqlx::query_scalar::<_, String>(
            "SELECT a.id FROM grants g JOIN agents a ON a.id = g.agent_id \
             WHERE g.share_id = $1 AND a.workspace_id IS NULL ORDER BY a.last_seen_at, a.id",
        );
        let rows = rows.bind(share.to_string()).fetch_all(&self.read).await;
        rows.map_err(doing("reading the guests of a share"))?.iter().map(|id| uuid(id, "a guest")).collect()
    }

    /// Takes a guest's grant away, and its token with it.
    pub async fn forget_guest(&self, share: Uuid, guest: Uuid) -> Result<(), StoreError> {
        let doing = doing("forgetting a guest");
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let grant = sqlx::query("DELETE FROM grants WHERE share_id = $1 AND agent_id = $2");
        let grant = grant.bind(share.to_string()).bind(guest.to_string());
        grant.execute(&mut *transaction).await.map_err(doing)?;
        let agent = sqlx::query(
            "DELETE FROM agents WHERE id = $1 AND workspace_id IS NULL \
             AND NOT EXISTS (SELECT 1 FROM grants WHERE agent_id = $1)",
        );
        agent.bind(guest.to_string()).execute(&mut *transaction).await.map_err(doing)?;
        transaction.commit().await.map_err(doing)
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
        .bind(Timestamp::now().millis())
        .fetch_optional(&self.read)
        .await
        .map_err(doing("looking for a grant"))?;
        let Some((share, expires_at)) = granted else { return Ok(None) };
        Ok(Some(Access {
            service,
            share: Some((uuid(&share, "a grant")?, Timestamp::from_millis(expires_at))),
        }))
    }

    /// Whether an agent holds a grant of any live share: what keeps a guest alive.
    pub async fn has_live_grant(&self, agent: Uuid) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar::<_, i64>(
            "SELECT COUNT(*) FROM grants g JOIN shares s ON s.id = g.share_id \
             WHERE g.agent_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2",
        )
        .bind(agent.to_string())
        .bind(Timestamp::now().millis())
        .fetch_one(&self.read)
        .await
        .map_err(doing("looking for a grant"))?;
        Ok(count > 0)
    }

    /// The live shares that an agent holds a grant of, and when each ends.
    pub async fn granted_shares(&self, agent: Uuid) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let rows = sqlx::query_as::<_, (String, i64)>(
            "SELECT s.id, s.expires_at FROM grants g JOIN shares s ON s.id = g.share_id \
             WHERE g.agent_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2",
        )
        .bind(agent.to_string())
        .bind(Timestamp::now().millis())
        .fetch_all(&self.read)
        .await
        .map_err(doing("looking for granted shares"))?;
        rows.iter().map(|(id, end)| Ok((uuid(id, "a grant")?, Timestamp::from_millis(*end)))).collect()
    }

    /// The shares of an agent's grants that are over, and why, newest first. Those that ended long ago are forgotten.
    pub async fn ended_shares(&self, agent: Uuid, limit: i64) -> Result<Vec<(Uuid, EndReason)>, StoreError> {
        let rows = sqlx::query_as::<_, (String, Option<String>)>(
            "SELECT s.id, s.end_reason FROM grants g JOIN shares s ON s.id = g.share_id \
             WHERE g.agent_id = $1 AND (s.ended_at IS NOT NULL OR s.expires_at <= $2) \
             ORDER BY COALESCE(s.ended_at, s.expires_at) DESC, s.id LIMIT $3",
        )
        .bind(agent.to_string())
        .bind(Timestamp::now().millis())
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(doing("looking for ended shares"))?;
        let row = |(id, reason): (String, Option<String>)| {
            // The timer may not have written an end yet that the clock has passed.
            let reason = reason.as_deref().and_then(EndReason::parse).unwrap_or(EndReason::Expired);
            Ok((uuid(&id, "a grant")?, reason))
        };
        rows.into_iter().map(row).collect()
    }

    /// Who made a share that lives.
    pub async fn maker(&self, share: Uuid) -> Result<Option<Uuid>, StoreError> {
        let sql = "SELECT agent_id FROM shares WHERE id = $1 AND ended_at IS NULL AND expires_at > $2";
        let query =
            sqlx::query_scalar::<_, String>(sql).bind(share.to_string()).bind(Timestamp::now().millis());
        let found = query.fetch_optional(&self.read).await.map_err(doing("looking for a share's maker"))?;
        found.map(|id| uuid(&id, "a share's agent")).transpose()
    }

    /// The agents that joined a share.
    pub async fn granted_agents(&self, share: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let rows = sqlx::query_scalar::<_, String>("SELECT agent_id FROM grants WHERE share_id = $1");
        let rows =
            rows.bind(share.to_string()).fetch_all(&self.read).await.map_err(doing("reading grants"))?;
        rows.iter().map(|id| uuid(id, "a grant")).collect()
    }
}

/// Whether another agent may join.
enum Room {
    Free,
    /// `maxJoins` agents have joined.
    AsManyAsAsked,
    /// [`AGENTS_PER_SHARE`] have.
    Full,
}

/// Whether there is room for the joiner. One that has joined may come again, whatever the counts are.
async fn room(
    connection: &mut SqliteConnection,
    share: &ShareRow,
    joiner: Joiner<'_>,
) -> Result<Room, StoreError> {
    let id = share.id.to_string();
    if let Joiner::Agent(agent) = joiner
        && is_granted(connection, &id, agent).await?
    {
        return Ok(Room::Free);
    }
    let agents = count_granted(connection, &id).await?;
    Ok(match share.max_joins {
        Some(most) if agents >= most => Room::AsManyAsAsked,
        _ if agents >= AGENTS_PER_SHARE => Room::Full,
        _ => Room::Free,
    })
}

async fn is_granted(connection: &mut SqliteConnection, share: &str, agent: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM grants WHERE share_id = $1 AND agent_id = $2";
    let grants = sqlx::query_scalar::<_, i64>(sql).bind(share).bind(agent.to_string());
    Ok(grants.fetch_one(connection).await.map_err(doing("looking for a grant"))? > 0)
}

async fn count_granted(connection: &mut SqliteConnection, share: &str) -> Result<i64, StoreError> {
    let grants = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM grants WHERE share_id = $1");
    grants.bind(share).fetch_one(connection).await.map_err(doing("counting grants"))
}

async fn insert_guest(
    connection: &mut SqliteConnection,
    id: Uuid,
    token: &SecretHash,
    label: &str,
    expires_at: Timestamp,
    now: Timestamp,
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

/// Writes a join and its grant; how many joins the share has seen. Only the newest are kept.
async fn insert_join(
    connection: &mut SqliteConnection,
    share: &ShareRow,
    join: &JoinRow,
) -> Result<i64, StoreError> {
    let doing = doing("writing a join");
    let id = share.id.to_string();
    sqlx::query(
        "INSERT INTO joins (id, share_id, agent_id, agent_label, joined_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(&id)
    .bind(join.agent.to_string())
    .bind(&join.label)
    .bind(join.at.millis())
    .execute(&mut *connection)
    .await
    .map_err(doing)?;
    sqlx::query(
        "INSERT INTO grants (share_id, agent_id) VALUES ($1, $2) ON CONFLICT (share_id, agent_id) DO NOTHING",
    )
    .bind(&id)
    .bind(join.agent.to_string())
    .execute(&mut *connection)
    .await
    .map_err(doing)?;
    let sql = "UPDATE shares SET join_count = join_count + 1 WHERE id = $1 RETURNING join_count";
    let count =
        sqlx::query_scalar::<_, i64>(sql).bind(&id).fetch_one(&mut *connection).await.map_err(doing)?;
    if count > JOINS_KEPT {
        let older = sqlx::query(
            "DELETE FROM joins WHERE share_id = $1 AND joined_at < \
             (SELECT joined_at FROM joins WHERE share_id = $1 ORDER BY joined_at DESC LIMIT 1 OFFSET $2)",
        );
        older.bind(&id).bind(JOINS_KEPT - 1).execute(connection).await.map_err(doing)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
