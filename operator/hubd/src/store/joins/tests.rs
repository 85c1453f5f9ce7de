//! What must stay bounded, with tables that are full.

use super::*;
use crate::{
    limits::{ENDED_SHARES_PER_WORKSPACE, TUNNEL_PORTS},
    store::{NewService, NewShare, Registered, Saved, ShareCreation},
};

/// A workspace `one` with an agent, and `two` with another.
async fn store(folder: &std::path::Path) -> (Store, [(String, Uuid); 2]) {
    let store = Store::open(folder, crate::store::Folder::Any).await.expect("opens");
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        let key = format!("pc_0123456789abcdef{name}");
        store.ensure_key(name, "test", &key).await.expect("writes");
        let workspace = store.workspace_of(&key).await.expect("reads").expect("is there").id;
        agents.push((workspace.clone(), agent(&store, &workspace).await));
    }
    (store, agents.try_into().expect("two"))
}

async fn agent(store: &Store, workspace: &str) -> Uuid {
    let (id, life) = (Uuid::new_v4(), std::time::Duration::from_secs(60));
    let registered = store.register_agent(workspace, id, &id.to_string(), None, None, life).await;
    assert!(matches!(registered, Ok(Registered::Done(_))));
    id
}

async fn share(store: &Store, workspace: &str, agent: Uuid) -> ShareRow {
    let expires_at = Timestamp::now().after(std::time::Duration::from_secs(600));
    let (name, max_joins, idempotency_key, routes) = (None, None, None, Vec::new());
    let new = NewShare { workspace, agent, name, expires_at, max_joins, idempotency_key, routes };
    match store.create_share(new).await {
        Ok(ShareCreation::Done(share)) => share,
        other => panic!("{other:?}"),
    }
}

async fn run(store: &Store, sql: &'static str, arguments: &[&str]) {
    let query = arguments.iter().fold(sqlx::query(sql), |query, argument| query.bind(*argument));
    query.execute(&store.write).await.expect("runs");
}

async fn count(store: &Store, sql: &'static str) -> i64 {
    sqlx::query_scalar::<_, i64>(sql).fetch_one(&store.read).await.expect("counts")
}

#[tokio::test]
async fn one_who_joins_for_ever_ends_nothing_and_fills_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, [(workspace, maker), (other, second)]) = store(folder.path()).await;
    let share = share(&store, &workspace, maker).await;
    run(
        &store,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
         INSERT INTO joins (id, share_id, agent_id, agent_label, joined_at) SELECT 'j' || i, $1, $2, '', i FROM n",
        &[&share.id.to_string(), &second.to_string()],
    )
    .await;
    run(&store, "UPDATE shares SET join_count = 20000", &[]).await;
    let joined = store.join(&share.code, Joiner::Agent(second), "again").await.expect("writes");
    assert!(matches!(joined, JoinOutcome::Joined(joined) if joined.count == 20_001));
    assert_eq!(count(&store, "SELECT COUNT(*) FROM joins").await, JOINS_KEPT);
    let (seen, newest) = store.joins(share.id, 1).await.expect("reads");
    assert_eq!((seen, newest[0].label.as_str()), (20_001, "again"));
    let newcomer = agent(&store, &other).await;
    let joined = store.join(&share.code, Joiner::Agent(newcomer), "").await.expect("writes");
    assert!(matches!(joined, JoinOutcome::Joined(_)));
}

#[tokio::test]
async fn a_share_full_of_guests_takes_members_and_lets_one_in_for_one_who_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, [(workspace, maker), (_, member)]) = store(folder.path()).await;
    let share = share(&store, &workspace, maker).await;
    let joined = store.join(&share.code, Joiner::Agent(member), "").await.expect("writes");
    assert!(matches!(joined, JoinOutcome::Joined(_)));
    let guests = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
         INSERT INTO agents (id, label, token_hash, token_expires_at, created_at, last_seen_at, connected_at) \
         SELECT printf('00000000-0000-4000-8000-%012d', i), '', '', 9999999999999, i, i, i FROM n";
    run(&store, guests, &[]).await;
    let grants = "INSERT INTO grants SELECT $1, id FROM agents WHERE workspace_id IS NULL";
    run(&store, grants, &[&share.id.to_string()]).await;

    let again = store.join(&share.code, Joiner::Agent(member), "").await.expect("writes");
    assert!(matches!(again, JoinOutcome::Joined(_)), "who has joined may come again");
    let token = SecretHash::of("token");
    let guest = Joiner::Guest { id: Uuid::new_v4(), token: &token };
    let full = store.join(&share.code, guest, "").await.expect("reads");
    assert!(matches!(full, JoinOutcome::Full));
    let absent = store.guests(share.id).await.expect("reads")[0];
    store.forget_guest(share.id, absent).await.expect("writes");
    let joined = store.join(&share.code, guest, "").await.expect("writes");
    assert!(matches!(joined, JoinOutcome::Joined(_)));
    let oldest = "SELECT COUNT(*) FROM agents WHERE id = '00000000-0000-4000-8000-000000000001'";
    assert_eq!(count(&store, oldest).await, 0, "who was away for longest has gone");
    assert_eq!(store.count_granted(share.id).await.expect("counts"), AGENTS_PER_SHARE);

    // They go when their share has been over for a while, and the join of a member is still told.
    store.end_share(share.id, crate::store::EndReason::Revoked).await.expect("writes");
    let later = Timestamp::now().after(std::time::Duration::from_secs(1));
    assert_eq!(store.forget_guests(later).await.expect("writes"), 9_999);
    assert_eq!(count(&store, "SELECT COUNT(*) FROM grants").await, 1);
}

#[tokio::test]
async fn making_and_revoking_leaves_only_the_newest_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, [(workspace, maker), (other, second)]) = store(folder.path()).await;
    let ended = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
         INSERT INTO shares (id, code, workspace_id, agent_id, expires_at, created_at, ended_at, end_reason) \
         SELECT $1 || i, $1 || i, $2, $3, i, i, i, 'revoked' FROM n";
    run(&store, ended, &["x", &workspace, &maker.to_string()]).await;
    run(&store, ended, &["y", &other, &second.to_string()]).await;
    share(&store, &workspace, maker).await;
    let left = "SELECT COUNT(*) FROM shares WHERE id LIKE 'x%' AND ended_at > 2000";
    assert_eq!(count(&store, left).await, ENDED_SHARES_PER_WORKSPACE);
    assert_eq!(
        count(&store, "SELECT COUNT(*) FROM shares WHERE id LIKE 'x%'").await,
        ENDED_SHARES_PER_WORKSPACE
    );
    assert_eq!(count(&store, "SELECT COUNT(*) FROM shares WHERE id LIKE 'y%'").await, 3000, "not of others");
}

#[tokio::test]
async fn tunnel_ports_are_each_workspaces_own_and_no_ceiling() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, [(workspace, maker), (other, second)]) = store(folder.path()).await;
    let ports = "WITH RECURSIVE n (i) AS (SELECT 23000 UNION ALL SELECT i + 1 FROM n WHERE i < 23999) \
         INSERT INTO services (id, workspace_id, agent_id, name, target_host, target_port, workspace_port, protocol, \
         reach, status, created_at) SELECT printf('00000000-0000-4000-8000-%012d', i), $1, $2, 's' || i, 'h', 1, i, \
         'tcp', 'shared', 'UNKNOWN', i FROM n";
    run(&store, ports, &[&workspace, &maker.to_string()]).await;
    let port = async |workspace: &str, agent: Uuid| {
        let (name, target_host, protocol) = ("new".to_owned(), "h".to_owned(), "tcp".to_owned());
        let reach = Reach::Shared;
        let new = NewService { agent: Some(agent), name, target_host, target_port: 1, protocol, reach };
        match store.save_service(workspace, &new, 2_000).await {
            Ok(Saved::Done { service, .. }) => service.tunnel_port.map(i64::from),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(port(&workspace, maker).await, None, "none is left, and none is needed");
    assert_eq!(port(&other, second).await, Some(*TUNNEL_PORTS.start()));
    let freed = Uuid::parse_str("00000000-0000-4000-8000-000000023500").expect("an id");
    assert!(store.delete_service(freed).await.expect("writes"));
    assert_eq!(port(&workspace, maker).await, Some(23_500));
}

#[tokio::test]
async fn a_list_tells_of_each_share_what_is_told_of_it_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, [(workspace, maker), (_, stranger)]) = store(folder.path()).await;
    let mut shares = Vec::new();
    for joiners in 0..4 {
        let share = share(&store, &workspace, maker).await;
        for at in 0..joiners {
            let agent = agent(&store, &workspace).await;
            for _ in 0..=at {
                let joined = store.join(&share.code, Joiner::Agent(agent), "mia").await.expect("writes");
                assert!(matches!(joined, JoinOutcome::Joined(_)));
            }
        }
        shares.push(share);
    }
    let ended = share(&store, &workspace, maker).await;
    run(&store, "UPDATE shares SET ended_at = 1 WHERE id = $1", &[&ended.id.to_string()]).await;

    let listed = store.live_shares(maker, 2).await.expect("reads");
    assert_eq!(listed.len(), shares.len());
    for share in &shares {
        let row = listed.iter().find(|row| row.id == share.id).expect("it is listed");
        let (count, joins) = store.joins(share.id, 2).await.expect("reads");
        assert_eq!((row.join_count, &row.joins), (count, &joins));
        let mut granted = store.granted_agents(share.id).await.expect("reads");
        let mut told = row.granted.clone();
        granted.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, granted);
        assert_eq!((row.route_count, row.code.reveal()), (0, share.code.reveal()));
    }
    assert!(store.live_shares(stranger, 2).await.expect("reads").is_empty());
}
