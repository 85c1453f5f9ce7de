//! Agents: who they are and what their token is. Whether one is online is not kept here: the sockets know.

use std::time::Duration;

use uuid::Uuid;

use super::{Store, StoreError, doing, uuid};
use crate::{limits::AGENTS_PER_WORKSPACE, secret::SecretHash, timestamp::Timestamp};

/// An agent.
#[derive(Debug, Clone)]
pub struct AgentRow {
    pub id: Uuid,
    /// `None`: joined by a code alone.
    pub workspace: Option<String>,
    pub label: String,
    pub name: Option<String>,
    pub token: SecretHash,
    /// The token before that one, until that one is used: the answer that told it may have been lost.
    pub previous: Option<SecretHash>,
    pub token_expires_at: Timestamp,
    pub created_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub connected_at: Timestamp,
}

impl AgentRow {
    /// Whether whoever has this token is the agent.
    pub fn is_proven_by(&self, token: &str) -> bool {
        self.token.matches(token) || self.previous.as_ref().is_some_and(|previous| previous.matches(token))
    }
}

/// What became of a registration.
#[derive(Debug)]
pub enum Registered {
    /// It is known now, or was.
    Done(AgentRow),
    /// The id lives in another workspace.
    OtherWorkspace,
    /// The id has another token; whoever has that one can rotate it.
    OtherToken,
    /// The workspace has [`AGENTS_PER_WORKSPACE`].
    TooMany,
}

/// The columns of [`Columns`].
const COLUMNS: &str = "id, workspace_id, label, name, token_hash, previous_token_hash, token_expires_at, created_at, last_seen_at, connected_at";
type Columns = (String, Option<String>, String, Option<String>, String, Option<String>, i64, i64, i64, i64);

impl TryFrom<Columns> for AgentRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self, StoreError> {
        let (
            id,
            workspace,
            label,
            name,
            token,
            previous,
            token_expires_at,
            created_at,
            last_seen_at,
            connected_at,
        ) = columns;
        Ok(Self {
            id: uuid(&id, "an agent's id")?,
            workspace,
            label,
            name,
            token: SecretHash::stored(token),
            previous: previous.map(SecretHash::stored),
            token_expires_at: Timestamp::from_millis(token_expires_at),
            created_at: Timestamp::from_millis(created_at),
            last_seen_at: Timestamp::from_millis(last_seen_at),
            connected_at: Timestamp::from_millis(connected_at),
        })
    }
}

impl Store {
    /// Makes the agent known to `workspace`, or renews it: its label, its name when one is given, its token's life.
    pub async fn register_agent(
        &self,
        workspace: &str,
        id: Uuid,
        token: &str,
        label: Option<&str>,
        name: Option<&str>,
        token_life: Duration,
    ) -> Result<Registered, StoreError> {
        let doing = doing("registering an agent");
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let known = find(&mut transaction, id).await?;
        match &known {
            Some(agent) if agent.workspace.as_deref() != Some(workspace) => {
                return Ok(Registered::OtherWorkspace);
            }
            Some(agent) if !agent.is_proven_by(token) => return Ok(Registered::OtherToken),
            Some(_) => {}
            None if count(&mut *transaction, workspace).await? >= AGENTS_PER_WORKSPACE => {
                return Ok(Registered::TooMany);
            }
            None => {}
        }
        let now = Timestamp::now();
        sqlx::query(
            "INSERT INTO agents (id, workspace_id, label, name, token_hash, token_expires_at, created_at, \
             last_seen_at, connected_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7) ON CONFLICT (id) DO UPDATE SET \
             label = excluded.label, name = excluded.name, token_expires_at = excluded.token_expires_at, \
             last_seen_at = excluded.last_seen_at, previous_token_hash = \
             CASE WHEN agents.token_hash = excluded.token_hash THEN NULL ELSE agents.previous_token_hash END",
        )
        .bind(id.to_string())
        .bind(workspace)
        .bind(label.or(known.as_ref().map(|agent| agent.label.as_str())).unwrap_or("default"))
        .bind(name.or(known.as_ref().and_then(|agent| agent.name.as_deref())))
        .bind(SecretHash::of(token).as_str())
        .bind(now.after(token_life).millis())
        .bind(now.millis())
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        let agent =
            find(&mut transaction, id).await?.ok_or(StoreError::Corrupt { what: "an agent just written" })?;
        transaction.commit().await.map_err(doing)?;
        Ok(Registered::Done(agent))
    }

    /// One agent, of whatever workspace.
    pub async fn agent(&self, id: Uuid) -> Result<Option<AgentRow>, StoreError> {
        let mut connection = self.read.acquire().await.map_err(doing("looking for an agent"))?;
        find(&mut connection, id).await
    }

    /// The agents of a workspace, last seen first.
    pub async fn agents(&self, workspace: &str) -> Result<Vec<AgentRow>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM agents WHERE workspace_id = $1 ORDER BY last_seen_at DESC, id"
        ));
        let rows = sqlx::query_as::<_, Columns>(sql).bind(workspace).fetch_all(&self.read).await;
        rows.map_err(doing("listing agents"))?.into_iter().map(AgentRow::try_from).collect()
    }

    /// How many agents a workspace has.
    pub async fn count_agents(&self, workspace: &str) -> Result<i64, StoreError> {
        count(&self.read, workspace).await
    }

    /// Forgets an agent with all that is its own, and says which services that were; `None` while it has a live share.
    pub async fn delete_agent(&self, id: Uuid) -> Result<Option<Vec<Uuid>>, StoreError> {
        let doing = doing("removing an agent");
        let id = id.to_string();
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let sql = "SELECT COUNT(*) FROM shares WHERE agent_id = $1 AND ended_at IS NULL AND expires_at > $2";
        let live = sqlx::query_scalar::<_, i64>(sql).bind(&id).bind(Timestamp::now().millis());
        if live.fetch_one(&mut *transaction).await.map_err(doing)? > 0 {
            return Ok(None);
        }
        let services =
            sqlx::query_scalar::<_, String>("SELECT id FROM services WHERE agent_id = $1").bind(&id);
        let services = services.fetch_all(&mut *transaction).await.map_err(doing)?;
        for sql in [
            "DELETE FROM services WHERE agent_id = $1",
            "DELETE FROM grants WHERE agent_id = $1",
            // Routes, joins and grants of shares go with them.
            "DELETE FROM shares WHERE agent_id = $1",
            "DELETE FROM agents WHERE id = $1",
        ] {
            sqlx::query(sql).bind(&id).execute(&mut *transaction).await.map_err(doing)?;
        }
        transaction.commit().await.map_err(doing)?;
        services.iter().map(|id| uuid(id, "a service's id")).collect::<Result<_, _>>().map(Some)
    }

    /// Gives an agent a new token in place of `current`; false when somebody else was faster. The token that was `shown`
    /// counts until the new one is used.
    pub async fn replace_token(
        &self,
        id: Uuid,
        current: &SecretHash,
        shown: &SecretHash,
        new: &SecretHash,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE agents SET token_hash = $1, token_expires_at = $2, previous_token_hash = $3 \
             WHERE id = $4 AND token_hash = $5",
        )
        .bind(new.as_str())
        .bind(expires_at.millis())
        .bind(shown.as_str())
        .bind(id.to_string())
        .bind(current.as_str())
        .execute(&self.write)
        .await
        .map_err(doing("rotating a token"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets the token before the present one, which has been used.
    pub async fn forget_previous_token(&self, agent: &AgentRow) -> Result<(), StoreError> {
        let sql = "UPDATE agents SET previous_token_hash = NULL WHERE id = $1 AND token_hash = $2";
        let query = sqlx::query(sql).bind(agent.id.to_string()).bind(agent.token.as_str());
        query.execute(&self.write).await.map_err(doing("forgetting a rotated token"))?;
        Ok(())
    }

    /// Notes that an agent is alive, and since when its socket is.
    pub async fn agent_seen(&self, id: Uuid, connected: bool) -> Result<(), StoreError> {
        let sql = if connected {
            "UPDATE agents SET last_seen_at = $1, connected_at = $1 WHERE id = $2"
        } else {
            "UPDATE agents SET last_seen_at = $1 WHERE id = $2"
        };
        let query = sqlx::query(sql).bind(Timestamp::now().millis()).bind(id.to_string());
        query.execute(&self.write).await.map_err(doing("noting that an agent lives"))?;
        Ok(())
    }
}

async fn count(over: impl sqlx::SqliteExecutor<'_>, workspace: &str) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM agents WHERE workspace_id = $1");
    count.bind(workspace).fetch_one(over).await.map_err(doing("counting agents"))
}

async fn find(connection: &mut sqlx::SqliteConnection, id: Uuid) -> Result<Option<AgentRow>, StoreError> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM agents WHERE id = $1"));
    let row = sqlx::query_as::<_, Columns>(sql).bind(id.to_string()).fetch_optional(connection).await;
    row.map_err(doing("looking for an agent"))?.map(AgentRow::try_from).transpose()
}
