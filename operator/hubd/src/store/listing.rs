//! What a list of live shares tells: one statement for each table, however many shares there are.

use std::collections::HashMap;

use uuid::Uuid;

use super::{JoinRow, Store, StoreError, doing, uuid};
use crate::{secret::ShareCode, timestamp::Timestamp};

/// A share that may be joined, as its maker's list tells it.
#[derive(Debug)]
pub struct LiveShare {
    pub id: Uuid,
    pub code: ShareCode,
    pub name: Option<String>,
    pub expires_at: Timestamp,
    pub idempotency_key: Option<String>,
    pub created_at: Timestamp,
    /// How many joins it has seen.
    pub join_count: i64,
    /// How many routes it has.
    pub route_count: i64,
    /// The newest joins, newest first.
    pub joins: Vec<JoinRow>,
    /// The agents that have joined it.
    pub granted: Vec<Uuid>,
}

type Columns = (String, String, Option<String>, i64, Option<String>, i64, i64, i64);

impl Store {
    /// The live shares that an agent has made, newest first, each with at most so many joins.
    pub async fn live_shares(&self, agent: Uuid, joins: i64) -> Result<Vec<LiveShare>, StoreError> {
        let doing = doing("listing shares");
        let (agent, now) = (agent.to_string(), Timestamp::now().millis());
        // All of it as of one moment.
        let mut transaction = self.read.begin().await.map_err(doing)?;
        let shares = sqlx::query_as::<_, Columns>(
            "SELECT id, code, name, expires_at, idempotency_key, created_at, join_count, \
             (SELECT COUNT(*) FROM share_routes WHERE share_id = shares.id) FROM shares \
             WHERE agent_id = $1 AND ended_at IS NULL AND expires_at > $2 ORDER BY created_at DESC, id",
        );
        let shares = shares.bind(&agent).bind(now).fetch_all(&mut *transaction).await.map_err(doing)?;
        let newest = sqlx::query_as::<_, (String, String, String, i64)>(
            "SELECT share_id, agent_id, agent_label, joined_at FROM \
             (SELECT joins.*, ROW_NUMBER() OVER (PARTITION BY share_id ORDER BY joined_at DESC, joins.id) AS place \
             FROM joins JOIN shares ON shares.id = joins.share_id \
             WHERE shares.agent_id = $1 AND ended_at IS NULL AND expires_at > $2) \
             WHERE place <= $3 ORDER BY share_id, place",
        );
        let newest = newest.bind(&agent).bind(now).bind(joins).fetch_all(&mut *transaction).await;
        let granted = sqlx::query_as::<_, (String, String)>(
            "SELECT share_id, grants.agent_id FROM grants JOIN shares ON shares.id = grants.share_id \
             WHERE shares.agent_id = $1 AND ended_at IS NULL AND expires_at > $2",
        );
        let granted = granted.bind(&agent).bind(now).fetch_all(&mut *transaction).await.map_err(doing)?;
        let mut listed = shares.into_iter().map(LiveShare::new).collect::<Result<Vec<_>, StoreError>>()?;
        let at: HashMap<String, usize> =
            listed.iter().enumerate().map(|(at, share)| (share.id.to_string(), at)).collect();
        for (share, agent, label, joined) in newest.map_err(doing)? {
            if let Some(&at) = at.get(&share) {
                let agent = uuid(&agent, "who joined")?;
                listed[at].joins.push(JoinRow { agent, label, at: Timestamp::from_millis(joined) });
            }
        }
        for (share, agent) in granted {
            if let Some(&at) = at.get(&share) {
                listed[at].granted.push(uuid(&agent, "a grant")?);
            }
        }
        Ok(listed)
    }
}

impl LiveShare {
    fn new(columns: Columns) -> Result<Self, StoreError> {
        let (id, code, name, expires_at, idempotency_key, created_at, join_count, route_count) = columns;
        Ok(Self {
            id: uuid(&id, "a share's id")?,
            code: ShareCode::stored(code),
            name,
            expires_at: Timestamp::from_millis(expires_at),
            idempotency_key,
            created_at: Timestamp::from_millis(created_at),
            join_count,
            route_count,
            joins: Vec::new(),
            granted: Vec::new(),
        })
    }
}
