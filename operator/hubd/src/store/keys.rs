//! Workspaces and the API keys that open them.

use uuid::Uuid;

use super::{Store, StoreError, doing};
use crate::{secret::SecretHash, timestamp::Timestamp};

/// How much of a key is shown so that people can tell keys apart; the vendor's figure.
const PREFIX_LENGTH: usize = 11;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    pub id: String,
    pub name: String,
}

/// A key as it is listed: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The name of the workspace that it opens.
    pub workspace: String,
    /// What whoever made it calls it.
    pub label: String,
    /// Its first characters, by which people know it.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it opens nothing any more.
    pub revoked: bool,
}

impl Store {
    /// Makes sure that `key` opens `workspace`, which is made when missing. A key that was revoked stays so.
    pub async fn ensure_key(&self, workspace: &str, label: &str, key: &str) -> Result<(), StoreError> {
        let doing = doing("writing an API key");
        let now = Timestamp::now().millis();
        let mut transaction = self.write.begin().await.map_err(doing)?;
        sqlx::query(
            "INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(workspace)
        .bind(now)
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        sqlx::query(
            "INSERT INTO api_keys (id, workspace_id, label, prefix, key_hash, created_at) \
             SELECT $1, id, $2, $3, $4, $5 FROM workspaces WHERE name = $6 ON CONFLICT (key_hash) DO NOTHING",
        )
        .bind(Uuid::new_v4().to_string())
        .bind(label)
        .bind(key.chars().take(PREFIX_LENGTH).collect::<String>())
        .bind(SecretHash::of(key).as_str())
        .bind(now)
        .bind(workspace)
        .execute(&mut *transaction)
        .await
        .map_err(doing)?;
        transaction.commit().await.map_err(doing)
    }

    /// The workspace that `key` opens.
    pub async fn workspace_of(&self, key: &str) -> Result<Option<Workspace>, StoreError> {
        let found = sqlx::query_as::<_, (String, String, String)>(
            "SELECT w.id, w.name, k.key_hash FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id \
             WHERE k.key_hash = $1 AND k.revoked_at IS NULL",
        )
        .bind(SecretHash::of(key).as_str())
        .fetch_optional(&self.read)
        .await
        .map_err(doing("looking for an API key"))?;
        // The index has compared hashes, whose timing tells nothing about keys; this compare is for the reader's peace.
        Ok(found
            .filter(|(.., hash)| SecretHash::stored(hash.clone()).matches(key))
            .map(|(id, name, _)| Workspace { id, name }))
    }

    /// Every key, oldest first.
    pub async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        let rows = sqlx::query_as::<_, (String, String, String, i64, Option<i64>)>(
            "SELECT w.name, k.label, k.prefix, k.created_at, k.revoked_at \
             FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id ORDER BY k.created_at, k.id",
        )
        .fetch_all(&self.read)
        .await
        .map_err(doing("listing API keys"))?;
        let row = |(workspace, label, prefix, created_at, revoked_at): (_, _, _, _, Option<i64>)| KeyRow {
            workspace,
            label,
            prefix,
            created_at: Timestamp::from_millis(created_at),
            revoked: revoked_at.is_some(),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Revokes the keys whose shown prefix is `prefix`; how many that were.
    pub async fn revoke_keys(&self, prefix: &str) -> Result<u64, StoreError> {
        let done =
            sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE prefix = $2 AND revoked_at IS NULL")
                .bind(Timestamp::now().millis())
                .bind(prefix)
                .execute(&self.write)
                .await
                .map_err(doing("revoking an API key"))?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_opens_its_workspace_until_it_is_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), crate::store::Folder::Any).await.expect("opens");
        for _ in 0..2 {
            store.ensure_key("team", "ci", "pc_0123456789abcdef").await.expect("writes");
        }
        let first = Timestamp::now();
        while Timestamp::now() == first {
            tokio::task::yield_now().await; // the second key is younger
        }
        store.ensure_key("team", "laptop", "pc_fedcba9876543210").await.expect("writes");
        let keys = store.keys().await.expect("reads");
        assert_eq!(
            keys.iter().map(|key| key.prefix.as_str()).collect::<Vec<_>>(),
            ["pc_01234567", "pc_fedcba98"]
        );

        let workspace = store.workspace_of("pc_0123456789abcdef").await.expect("reads").expect("known");
        assert_eq!(workspace.name, "team");
        assert_eq!(store.revoke_keys("pc_01234567").await.expect("writes"), 1);
        store.ensure_key("team", "ci", "pc_0123456789abcdef").await.expect("writes");
        assert_eq!(
            store.workspace_of("pc_0123456789abcdef").await.expect("reads"),
            None,
            "revoked is revoked"
        );
        assert_eq!(store.workspace_of("pc_fedcba9876543210").await.expect("reads"), Some(workspace));
        assert_eq!(store.revoke_keys("pc_01234567").await.expect("writes"), 0);
    }
}
