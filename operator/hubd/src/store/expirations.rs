//! The ends of shares as they are written down. Nothing here cuts anything: see [`crate::expirations`].

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{Store, StoreError, doing, uuid};
use crate::timestamp::Timestamp;

/// Why a share is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    Expired,
    /// Taken back.
    Revoked,
    /// What it shared, or the wish to share it, is gone.
    Deleted,
    /// It goes on under a new code.
    Rotated,
}

// === impl EndReason ===

impl EndReason {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "expired" => Some(Self::Expired),
            "revoked" => Some(Self::Revoked),
            "deleted" => Some(Self::Deleted),
            "rotated" => Some(Self::Rotated),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
            Self::Rotated => "rotated",
        }
    }
}

impl Store {
    /// Ends a share unless it has ended; whether it was this call that did.
    pub async fn end_share(&self, id: Uuid, reason: EndReason) -> Result<bool, StoreError> {
        let doing = doing("ending a share");
        let now = Timestamp::now();
        let mut transaction = self.write.begin().await.map_err(doing)?;
        let done = sqlx::query(
            "UPDATE shares SET ended_at = $1, end_reason = $2 WHERE id = $3 AND ended_at IS NULL",
        )
        .bind(now.millis())
        .bind(reason.as_str())
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        set_guests_end(&mut transaction, &id.to_string(), now).await?;
        transaction.commit().await.map_err(doing)?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes down that every share whose end has passed is over.
    pub async fn end_due_shares(&self, now: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "UPDATE shares SET ended_at = expires_at, end_reason = 'expired' WHERE ended_at IS NULL AND expires_at <= $1",
        );
        let done = done
            .bind(now.millis())
            .execute(&self.write)
            .await
            .map_err(doing("ending shares that are due"))?;
        Ok(done.rows_affected())
    }

    /// The ends of all live shares.
    pub async fn coming_ends(&self) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
        let rows =
            sqlx::query_as::<_, (String, i64)>("SELECT id, expires_at FROM shares WHERE ended_at IS NULL");
        let rows = rows.fetch_all(&self.read).await.map_err(doing("reading the ends of shares"))?;
        rows.iter().map(|(id, end)| Ok((uuid(id, "a share's id")?, Timestamp::from_millis(*end)))).collect()
    }

    /// Forgets shares that ended before `before`.
    pub async fn forget_ended_shares(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM shares WHERE ended_at < $1").bind(before.millis());
        let done = done.execute(&self.write).await.map_err(doing("forgetting ended shares"))?;
        Ok(done.rows_affected())
    }

    /// Forgets guests whose last share ended before `before`.
    pub async fn forget_guests(&self, before: Timestamp) -> Result<u64, StoreError> {
        let doing = doing("forgetting guests");
        let mut transaction = self.write.begin().await.map_err(doing)?;
        sqlx::query(
            "DELETE FROM grants WHERE share_id IN (SELECT id FROM shares WHERE ended_at < $1) \
             AND agent_id IN (SELECT id FROM agents WHERE workspace_id IS NULL)",
        )
        .bind(before.millis())
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        let done = sqlx::query(
            "DELETE FROM agents WHERE workspace_id IS NULL AND token_expires_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM grants WHERE agent_id = agents.id)",
        )
        .bind(before.millis())
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        transaction.commit().await.map_err(doing)?;
        Ok(done.rows_affected())
    }
}

/// Lets the tokens of those who joined a share by its code alone end with it.
pub(super) async fn set_guests_end(
    connection: &mut SqliteConnection,
    share: &str,
    end: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE agents SET token_expires_at = $1 WHERE workspace_id IS NULL \
         AND id IN (SELECT agent_id FROM grants WHERE share_id = $2)",
    )
    .bind(end.millis())
    .bind(share)
    .execute(connection)
    .await
    .map_err(doing("setting the end of guests"))?;
    Ok(())
}
