//! What survives a restart and a kill: workspaces, keys, agents, services, shares, joins and grants, in SQLite.
//!
//! Durable by WAL with `synchronous=FULL`: an answered request is on the disk, also after a power cut, for one fsync
//! per write (there are few writes; no byte of a bridge comes here). One connection writes, so a transaction that
//! reads and then writes is never interleaved with another; several read.

mod agents;
mod expirations;
mod folder;
mod joins;
mod keys;
mod listing;
mod routes;
mod services;
mod shares;

pub use agents::{AgentRow, Registered};
pub use expirations::EndReason;
pub use folder::{Folder, NoHub, holds_hub};
pub use joins::{Access, JoinOutcome, JoinRow, Joined, Joiner};
pub use keys::{KeyRow, Workspace};
pub use routes::{NewRoute, RouteRow};
pub use services::{NewService, Reach, Saved, ServiceRow};
pub use shares::{Change, Changed, NewShare, ShareCreation, ShareRow, ShareState};

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

/// How long to wait for another process (the `key` command) that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement may stand in line: some hundred people who come at once, on a slow disk, and less than a request may
/// take.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections that read; a read takes microseconds, so a few serve thousands of sockets.
const READERS: u32 = 4;

/// The hub's memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    /// One connection: see the module.
    write: SqlitePool,
    read: SqlitePool,
}

/// Why the memory failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file could not be made ours alone.
    #[error("preparing {}", path.display())]
    Prepare {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder is not one that a hub is started or looked for in.
    #[error("the folder {} {why}", folder.display())]
    NoHub {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: NoHub,
    },
    /// The file is no database, or another process holds it.
    #[error("opening the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date.
    #[error("bringing the database {} up to date", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: MigrateError,
    },
    /// A statement failed.
    #[error("{doing} in the database")]
    Query {
        /// What we were doing.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Somebody else wrote into our tables.
    #[error("reading {what}: the database holds something we did not write")]
    Corrupt {
        /// What we were reading.
        what: &'static str,
    },
    /// No random bytes for a code.
    #[error("making a code")]
    Random(#[from] crate::secret::NoRandomness),
}

// === impl Store ===

impl Store {
    /// Opens or makes the database in `folder`, for us alone, and brings it up to date.
    pub async fn open(folder: &Path, wanted: Folder) -> Result<Self, StoreError> {
        let path = folder::prepare(folder, wanted)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(QUEUE_TIMEOUT);
        let open_failed = |source| StoreError::Open { path: path.clone(), source };
        let write = pool(1).connect_with(options.clone()).await.map_err(open_failed)?;
        let migrated = migrator().run(&write).await;
        migrated.map_err(|source| StoreError::Migrate { path: path.clone(), source })?;
        let read = pool(READERS).connect_with(options).await.map_err(open_failed)?;
        Ok(Self { write, read })
    }

    /// Whether the database answers.
    pub async fn is_alive(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.read).await.is_ok()
    }

    /// Finishes what is being written and closes.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn migrator() -> Migrator {
    let files = [
        (1, "first", include_str!("../migrations/0001_first.sql")),
        (2, "previous token", include_str!("../migrations/0002_previous_token.sql")),
        (3, "limits", include_str!("../migrations/0003_limits.sql")),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(files.map(migration).to_vec())
}

/// For `map_err`: names what a statement was for.
fn doing(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |source| StoreError::Query { doing, source }
}

/// A UUID as we wrote it.
fn uuid(text: &str, what: &'static str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text).map_err(|_| StoreError::Corrupt { what })
}

/// A port as we wrote it.
fn port(number: i64, what: &'static str) -> Result<u16, StoreError> {
    u16::try_from(number).map_err(|_| StoreError::Corrupt { what })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn the_database_is_ours_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("a/b");
        let store = Store::open(&data, Folder::Any).await.expect("opens");
        store.ensure_key("team", "first", "pc_0123456789abcdef").await.expect("writes");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&data), 0o700);
        for entry in fs::read_dir(&data).expect("readable") {
            let path = entry.expect("readable").path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert!(store.is_alive().await);
        store.close().await;
        assert!(!store.is_alive().await);
    }

    #[tokio::test]
    async fn data_of_the_time_before_keep_their_ports_and_their_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder::prepare(folder.path(), Folder::Any).expect("is ours");
        let options = SqliteConnectOptions::new().filename(&path).foreign_keys(true);
        let old = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("opens");
        let all = migrator();
        let first = all.iter().filter(|migration| migration.version <= 2).cloned().collect::<Vec<_>>();
        Migrator::with_migrations(first).run(&old).await.expect("makes the tables");
        for sql in [
            "INSERT INTO workspaces VALUES ('w', 'team', 1)",
            "INSERT INTO agents (id, label, token_hash, token_expires_at, created_at, last_seen_at, connected_at) \
             VALUES ('00000000-0000-4000-8000-000000000001', '', '', 1, 1, 1, 1)",
            "INSERT INTO services (id, workspace_id, agent_id, name, target_host, target_port, tunnel_port, protocol, reach, \
             status, created_at) VALUES ('00000000-0000-4000-8000-000000000002', 'w', \
             '00000000-0000-4000-8000-000000000001', 's', 'h', 1, 23007, 'tcp', 'shared', 'UNKNOWN', 1)",
            "INSERT INTO shares (id, code, workspace_id, agent_id, expires_at, created_at) VALUES \
             ('00000000-0000-4000-8000-000000000003', 'c', 'w', '00000000-0000-4000-8000-000000000001', 1, 1)",
            "INSERT INTO joins VALUES ('j', '00000000-0000-4000-8000-000000000003', 'a', '', 1)",
        ] {
            sqlx::query(sql).execute(&old).await.expect("writes");
        }
        old.close().await;

        let store = Store::open(folder.path(), Folder::OfHub).await.expect("opens");
        let services = store.services("w").await.expect("reads");
        assert_eq!(services.iter().map(|service| service.tunnel_port).collect::<Vec<_>>(), [Some(23_007)]);
        let counts =
            sqlx::query_scalar::<_, i64>("SELECT join_count FROM shares").fetch_one(&store.read).await;
        assert_eq!(counts.expect("reads"), 1);
    }

    #[tokio::test]
    async fn what_is_no_database_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("hub.sqlite"), "this is a letter, not a database".repeat(100))
            .expect("writes");
        let error = Store::open(folder.path(), Folder::OfHub).await.expect_err("not a database");
        assert!(error.to_string().starts_with("opening the database"), "{error}");
    }
}
