//! Services: what an agent of a workspace can be dialled for.

use uuid::Uuid;

use super::{Store, StoreError, doing, port, uuid};
use crate::{
    limits::{DIAGNOSTICS_PER_SERVICE, TUNNEL_PORTS},
    timestamp::Timestamp,
};

/// Who may reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every agent of its workspace, and those with a grant.
    Workspace,
    /// Only agents with a grant of a live share, also within the workspace.
    Shared,
}

/// A service.
#[derive(Debug, Clone)]
pub struct ServiceRow {
    pub id: Uuid,
    pub workspace: String,
    /// `None`: an external one, which nobody carries.
    pub agent: Option<Uuid>,
    pub name: String,
    pub target_host: String,
    pub target_port: u16,
    pub tunnel_port: Option<u16>,
    pub protocol: String,
    pub reach: Reach,
    pub status: String,
    pub last_checked_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// What somebody wants registered.
#[derive(Debug, Clone)]
pub struct NewService {
    /// `None`: external.
    pub agent: Option<Uuid>,
    pub name: String,
    pub target_host: String,
    pub target_port: u16,
    pub protocol: String,
    pub reach: Reach,
}

/// What became of a registration.
#[derive(Debug)]
pub enum Saved {
    /// It is as asked. `before` is what the name stood for until now.
    Done { service: Box<ServiceRow>, before: Option<Box<ServiceRow>> },
    /// No agent of the workspace has that id.
    UnknownAgent,
    /// The name is another agent's.
    OtherAgent,
    /// The workspace has as many as it may.
    TooMany,
}

/// The columns of [`Columns`].
const COLUMNS: &str = "id, workspace_id, agent_id, name, target_host, target_port, workspace_port, protocol, reach, status, \
                       last_checked_at, created_at";
type Columns = (
    String,
    String,
    Option<String>,
    String,
    String,
    i64,
    Option<i64>,
    String,
    String,
    String,
    Option<i64>,
    i64,
);

// === impl Reach ===

impl Reach {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "workspace" => Some(Self::Workspace),
            "shared" => Some(Self::Shared),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Shared => "shared",
        }
    }
}

impl TryFrom<Columns> for ServiceRow {
    type Error = StoreError;

    fn try_from(columns: Columns) -> Result<Self, StoreError> {
        let (
            id,
            workspace,
            agent,
            name,
            target_host,
            target_port,
            tunnel_port,
            protocol,
            reach,
            status,
            checked,
            created,
        ) = columns;
        Ok(Self {
            id: uuid(&id, "a service's id")?,
            workspace,
            agent: agent.map(|id| uuid(&id, "a service's agent")).transpose()?,
            name,
            target_host,
            target_port: port(target_port, "a service's port")?,
            tunnel_port: tunnel_port.map(|number| port(number, "a tunnel port")).transpose()?,
            protocol,
            reach: Reach::parse(&reach).ok_or(StoreError::Corrupt { what: "a service's reach" })?,
            status,
            last_checked_at: checked.map(Timestamp::from_millis),
            created_at: Timestamp::from_millis(created),
        })
    }
}

impl Store {
    /// Makes `new` known under its name, in place of what had it; id and tunnel port stay. What an agent has is only its own to
    /// replace, and what is external anybody's.
    pub async fn save_service(
        &self,
        workspace: &str,
        new: &NewService,
        limit: u32,
    ) -> Result<Saved, StoreError> {
        let doing = doing("registering a service");
        let mut transaction = self.write.begin().await.map_err(doing)?;
        if let Some(agent) = new.agent {
            let sql = "SELECT COUNT(*) FROM agents WHERE id = $1 AND workspace_id = $2";
            let known = sqlx::query_scalar::<_, i64>(sql).bind(agent.to_string()).bind(workspace);
            if known.fetch_one(&mut *transaction).await.map_err(doing)? == 0 {
                return Ok(Saved::UnknownAgent);
            }
        }
        let before = find_by_name(&mut transaction, workspace, &new.name).await?;
        if before.as_ref().is_some_and(|before| before.agent.is_some() && before.agent != new.agent) {
            return Ok(Saved::OtherAgent);
        }
        if before.is_none() && count(&mut transaction, workspace).await? >= i64::from(limit) {
            return Ok(Saved::TooMany);
        }
        let tunnel_port = match (new.agent, before.as_ref().and_then(|service| service.tunnel_port)) {
            (None, _) => None,
            (Some(_), Some(kept)) => Some(i64::from(kept)),
            (Some(_), None) => free_port(&mut transaction, workspace).await?,
        };
        upsert(&mut transaction, workspace, new, tunnel_port).await?;
        let saved = find_by_name(&mut transaction, workspace, &new.name).await?;
        let service = saved.ok_or(StoreError::Corrupt { what: "a service just written" })?;
        transaction.commit().await.map_err(doing)?;
        Ok(Saved::Done { service: Box::new(service), before: before.map(Box::new) })
    }

    /// One service, of whatever workspace.
    pub async fn service(&self, id: Uuid) -> Result<Option<ServiceRow>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM services WHERE id = $1"));
        let row = sqlx::query_as::<_, Columns>(sql).bind(id.to_string()).fetch_optional(&self.read).await;
        row.map_err(doing("looking for a service"))?.map(ServiceRow::try_from).transpose()
    }

    /// The services of a workspace, newest first.
    pub async fn services(&self, workspace: &str) -> Result<Vec<ServiceRow>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM services WHERE workspace_id = $1 ORDER BY created_at DESC, workspace_port DESC, id"
        ));
        let rows = sqlx::query_as::<_, Columns>(sql).bind(workspace).fetch_all(&self.read).await;
        rows.map_err(doing("listing services"))?.into_iter().map(ServiceRow::try_from).collect()
    }

    /// How many services a workspace has.
    pub async fn count_services(&self, workspace: &str) -> Result<i64, StoreError> {
        let mut connection = self.read.acquire().await.map_err(doing("counting services"))?;
        count(&mut connection, workspace).await
    }

    /// Forgets a service and frees its port; false when it was gone.
    pub async fn delete_service(&self, id: Uuid) -> Result<bool, StoreError> {
        let query = sqlx::query("DELETE FROM services WHERE id = $1").bind(id.to_string());
        let done = query.execute(&self.write).await.map_err(doing("deleting a service"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps what a check of a service said, and only the newest few.
    pub async fn save_diagnostic(
        &self,
        service: Uuid,
        id: Uuid,
        body: &str,
        status: &str,
    ) -> Result<(), StoreError> {
        let doing = doing("keeping a diagnostic");
        let (service, now) = (service.to_string(), Timestamp::now().millis());
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let updated = sqlx::query("UPDATE services SET status = $1, last_checked_at = $2 WHERE id = $3");
        let updated =
            updated.bind(status).bind(now).bind(&service).execute(&mut *transaction).await.map_err(doing)?;
        if updated.rows_affected() == 0 {
            return Ok(()); // the service was deleted while it was being checked
        }
        sqlx::query("INSERT INTO diagnostics (id, service_id, body, created_at) VALUES ($1, $2, $3, $4)")
            .bind(id.to_string())
            .bind(&service)
            .bind(body)
            .bind(now)
            .execute(&mut *transaction)
            .await
            .map_err(doing)?;
        sqlx::query(
            "DELETE FROM diagnostics WHERE service_id = $1 AND id NOT IN \
             (SELECT id FROM diagnostics WHERE service_id = $1 ORDER BY created_at DESC, id LIMIT $2)",
        )
        .bind(&service)
        .bind(DIAGNOSTICS_PER_SERVICE)
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        transaction.commit().await.map_err(doing)
    }

    /// What the newest checks of a service said.
    pub async fn diagnostics(&self, service: Uuid, limit: i64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT body FROM diagnostics WHERE service_id = $1 ORDER BY created_at DESC, id LIMIT $2";
        let query = sqlx::query_scalar::<_, String>(sql).bind(service.to_string());
        query
            .bind(limit.min(DIAGNOSTICS_PER_SERVICE))
            .fetch_all(&self.read)
            .await
            .map_err(doing("reading diagnostics"))
    }
}

async fn count(connection: &mut sqlx::SqliteConnection, workspace: &str) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM services WHERE workspace_id = $1");
    count.bind(workspace).fetch_one(connection).await.map_err(doing("counting services"))
}

async fn find_by_name(
    connection: &mut sqlx::SqliteConnection,
    workspace: &str,
    name: &str,
) -> Result<Option<ServiceRow>, StoreError> {
    let sql =
        sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM services WHERE workspace_id = $1 AND name = $2"));
    let row = sqlx::query_as::<_, Columns>(sql).bind(workspace).bind(name).fetch_optional(connection).await;
    row.map_err(doing("looking for a service by name"))?.map(ServiceRow::try_from).transpose()
}

/// The lowest tunnel port that no service of the workspace has, if there is one.
async fn free_port(
    connection: &mut sqlx::SqliteConnection,
    workspace: &str,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT workspace_port FROM services WHERE workspace_id = $1 AND workspace_port IS NOT NULL \
               ORDER BY workspace_port";
    let taken = sqlx::query_scalar::<_, i64>(sql).bind(workspace).fetch_all(connection).await;
    let mut taken = taken.map_err(doing("looking for a tunnel port"))?.into_iter().peekable();
    Ok(TUNNEL_PORTS.into_iter().find(|port| taken.next_if_eq(port).is_none()))
}

async fn upsert(
    connection: &mut sqlx::SqliteConnection,
    workspace: &str,
    new: &NewService,
    tunnel_port: Option<i64>,
) -> Result<(), StoreError> {
    let NewService { agent, name, target_host, target_port, protocol, reach } = new;
    let query = sqlx::query(
        "INSERT INTO services (id, workspace_id, agent_id, name, target_host, target_port, workspace_port, protocol, \
         reach, status, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'UNKNOWN', $10) \
         ON CONFLICT (workspace_id, name) DO UPDATE SET agent_id = excluded.agent_id, target_host = excluded.target_host, \
         target_port = excluded.target_port, workspace_port = excluded.workspace_port, protocol = excluded.protocol, \
         reach = excluded.reach, status = excluded.status",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(workspace)
    .bind(agent.map(|id| id.to_string()))
    .bind(name)
    .bind(target_host)
    .bind(i64::from(*target_port))
    .bind(tunnel_port)
    .bind(protocol)
    .bind(reach.as_str())
    .bind(Timestamp::now().millis());
    query.execute(connection).await.map_err(doing("registering a service"))?;
    Ok(())
}
