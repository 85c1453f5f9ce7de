//! Who may do what: one table of people, what they ask the API server for, and its answer, for the chart's roles and policies.
//!
//! Every row is asked as that person, by impersonation, as a dry run: authorisation and admission answer as ever, and no row
//! changes the next one's world.

use anyhow::{Result, ensure};
use connect_tests::control_plane::{ControlPlane, Kubectl, Options};
use connect_tests::services;
use connect_tests::wait::{PATIENTLY, eventually};
use serde_json::{Value, json};

use super::{KINDS, OPERATOR};
use connect_tests::helm::{Helm, RELEASE};

/// Where the release is.
const HOME: &str = "private-connect";

/// A namespace without rules of its own, one with a longer limit, one with a limit nobody can read, and one of which nothing may
/// be shared.
const TEAM: &str = "team";
const LONG: &str = "long";
const ODD: &str = "odd";
const CLOSED: &str = "closed";

/// What the platform team allows in this table.
const SETTINGS: [&str; 4] = ["--set", "policies.enabled=true", "--set", "policies.maxExpiration=8h"];

/// People: the cluster's roles in every namespace; one who may do everything with our kinds and see nothing else; one with no
/// role at all; the cluster's administrator; the operator.
const VIEWER: &str = "viewer";
const EDITOR: &str = "editor";
const BLIND: &str = "blind";
const STRANGER: &str = "stranger";
const ROOT: &str = "root";
const OPERATOR_ACCOUNT: &str = "system:serviceaccount:private-connect:private-connect";

/// Somebody, somewhere, asks for something.
struct Row {
    who: &'static str,
    namespace: &'static str,
    asks: Asks,
    /// Words of the refusal; none if it is allowed.
    refused: Option<&'static str>,
}

enum Asks {
    /// For this, with kubectl's words.
    To(&'static str),
    /// To expose Services with this spec.
    Expose(Value),
    /// To share with this spec.
    Share(Value),
    /// To change the spec of the share that is there.
    Change(Value),
}

use Asks::{Change, Expose, Share, To};

fn allowed(who: &'static str, namespace: &'static str, asks: Asks) -> Row {
    Row { who, namespace, asks, refused: None }
}

fn refused(who: &'static str, namespace: &'static str, asks: Asks, words: &'static str) -> Row {
    Row { who, namespace, asks, refused: Some(words) }
}

fn postgres() -> Value {
    json!({"serviceRef": {"name": "postgres", "port": 5432}})
}

/// What the roles say.
fn of_roles() -> Vec<Row> {
    let no = "cannot";
    vec![
        allowed(VIEWER, TEAM, To("get envshare,svcexpose")),
        allowed(VIEWER, TEAM, To("get envshare kept")),
        refused(VIEWER, TEAM, To("get secret kept-share-code"), no),
        refused(VIEWER, TEAM, To("delete envshare kept"), no),
        refused(VIEWER, TEAM, Expose(postgres()), no),
        refused(VIEWER, TEAM, Share(json!({"expires": "1h"})), no),
        refused(VIEWER, TEAM, Change(json!({"revoked": true})), no),
        allowed(EDITOR, TEAM, To("get envshare,svcexpose")),
        allowed(EDITOR, TEAM, To("get secret kept-share-code")),
        allowed(EDITOR, TEAM, Expose(postgres())),
        allowed(EDITOR, TEAM, Share(json!({"expires": "1h"}))),
        allowed(EDITOR, TEAM, Change(json!({"revoked": true}))),
        allowed(EDITOR, TEAM, To("delete envshare kept")),
        refused(EDITOR, TEAM, To("patch envshare kept --subresource=status --type=merge -p {}"), no),
        refused(EDITOR, TEAM, To("delete crd environmentshares.connect.privateconnect.co"), no),
        refused(STRANGER, TEAM, To("get envshare"), no),
        refused(STRANGER, TEAM, Expose(postgres()), no),
        refused(STRANGER, TEAM, To("get secret kept-share-code"), no),
        allowed(OPERATOR_ACCOUNT, TEAM, To("get services --watch=false")),
        refused(OPERATOR_ACCOUNT, TEAM, To("get service postgres"), no),
        refused(OPERATOR_ACCOUNT, TEAM, To("get pods"), no),
        refused(OPERATOR_ACCOUNT, TEAM, To("delete service postgres"), no),
        refused(OPERATOR_ACCOUNT, TEAM, To("delete svcexpose kept"), no),
        refused(OPERATOR_ACCOUNT, TEAM, Expose(postgres()), no),
        refused(OPERATOR_ACCOUNT, TEAM, Share(json!({})), no),
        refused(OPERATOR_ACCOUNT, TEAM, To("get namespaces"), no),
    ]
}

/// What the policies say.
fn of_policies() -> Vec<Row> {
    let too_long = "may live for at most 8h from its creation: ask for less with expires or expirationTime";
    let closed = "may be shared: use another namespace, or ask a cluster administrator";
    let public = json!({"serviceRef": {"name": "postgres", "port": 5432}, "public": true});
    let private = json!({"serviceRef": {"name": "postgres", "port": 5432}, "public": false});
    vec![
        refused(BLIND, TEAM, Expose(postgres()), "only who may get Service postgres may expose it"),
        refused(
            BLIND,
            TEAM,
            Share(json!({"expires": "1h"})),
            "only who may get the Services of namespace team",
        ),
        refused(
            BLIND,
            TEAM,
            Change(json!({"expires": "2h"})),
            "only who may get the Services of namespace team",
        ),
        allowed(BLIND, TEAM, Change(json!({"revoked": true}))),
        allowed(BLIND, TEAM, To("label envshare kept reviewed=yes")),
        allowed(BLIND, TEAM, To("delete envshare kept")),
        refused(ROOT, TEAM, Expose(public), "public URLs are forbidden in this cluster"),
        allowed(ROOT, TEAM, Expose(private)),
        refused(ROOT, TEAM, Share(json!({})), too_long),
        allowed(ROOT, TEAM, Share(json!({"expires": "8h"}))),
        refused(ROOT, TEAM, Share(json!({"expires": "9h"})), too_long),
        refused(ROOT, TEAM, Share(json!({"expires": "1d"})), too_long),
        allowed(ROOT, TEAM, Share(json!({"expirationTime": hours_from_now(8)}))),
        refused(ROOT, TEAM, Share(json!({"expirationTime": hours_from_now(9)})), too_long),
        refused(ROOT, TEAM, Share(json!({"expires": "99999d"})), too_long),
        allowed(ROOT, TEAM, Share(json!({"expires": "99999d", "revoked": true}))),
        refused(EDITOR, TEAM, Change(json!({"expires": "3d"})), too_long),
        allowed(EDITOR, TEAM, Change(json!({"displayName": "PR-1234"}))),
        allowed(ROOT, LONG, Share(json!({}))),
        allowed(ROOT, LONG, Share(json!({"expires": "2d"}))),
        refused(ROOT, LONG, Share(json!({"expires": "3d"})), "namespace long may live for at most 2d"),
        refused(ROOT, ODD, Share(json!({"expires": "1h"})), "forever is not like 8h or 7d"),
        refused(ROOT, CLOSED, Expose(postgres()), closed),
        refused(ROOT, CLOSED, Share(json!({"expires": "1h"})), closed),
        refused(ROOT, "kube-system", Expose(postgres()), closed),
        refused(ROOT, "kube-system", Share(json!({"expires": "1h"})), closed),
    ]
}

#[tokio::test]
async fn everybody_may_do_what_the_table_says() -> Result<()> {
    let cluster = prepared().await?;
    for row in of_roles().into_iter().chain(of_policies()) {
        row.is_answered(&cluster.kubectl()).await?;
    }
    Ok(())
}

/// A cluster with the chart, its policies at work, and people.
async fn prepared() -> Result<ControlPlane> {
    let cluster = ControlPlane::start(Options { without_definitions: true, ..Options::default() }).await?;
    let helm = Helm::of(cluster.kubeconfig()).await?;
    helm.run(&["install", "private-connect-crds", KINDS]).await?;
    let kubectl = cluster.kubectl();
    for kind in ["serviceexposes", "environmentshares"] {
        let crd = format!("crd/{kind}.connect.privateconnect.co");
        kubectl.run(["wait", "--for=condition=Established", "--timeout=30s", &crd]).await?.success()?;
    }
    for namespace in [TEAM, LONG, ODD, CLOSED] {
        kubectl.run(["create", "namespace", namespace]).await?.success()?;
    }
    let team = kubectl.clone().in_namespace(TEAM);
    services::service(&team, "postgres", 5432).await?;
    team.apply(&object("ServiceExpose", "kept", &postgres()).to_string()).await?;
    // Made before the policies, and longer than they will allow.
    team.apply(&object("EnvironmentShare", "kept", &json!({})).to_string()).await?;
    team.run(["create", "secret", "generic", "kept-share-code", "--from-literal=code=x"]).await?.success()?;

    let install = ["install", RELEASE, OPERATOR, "--namespace", HOME, "--create-namespace"];
    helm.run(&[&install[..], &SETTINGS].concat()).await?;
    people(&kubectl).await?;
    let limit = "connect.privateconnect.co/max-expiration";
    for words in [
        format!("annotate namespace {LONG} {limit}=2d"),
        format!("annotate namespace {ODD} {limit}=forever"),
        format!("label namespace {CLOSED} connect.privateconnect.co/sharing=forbidden"),
    ] {
        kubectl.run(words.split(' ')).await?.success()?;
    }
    let last = of_policies().pop().expect("the table has rows");
    eventually("policies and roles are at work", PATIENTLY, || async {
        last.is_answered(&kubectl).await?;
        allowed(VIEWER, TEAM, To("get envshare")).is_answered(&kubectl).await?;
        allowed(EDITOR, TEAM, Change(json!({"revoked": true}))).is_answered(&kubectl).await
    })
    .await?;
    Ok(cluster)
}

async fn people(kubectl: &Kubectl) -> Result<()> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "only-connect"},
        "rules": [{"apiGroups": ["connect.privateconnect.co"], "resources": ["*"], "verbs": ["*"]}],
    });
    kubectl.apply(&role.to_string()).await?;
    let roles = [("view", VIEWER), ("edit", EDITOR), ("only-connect", BLIND), ("cluster-admin", ROOT)];
    for (role, who) in roles {
        let words = format!("create clusterrolebinding {who} --clusterrole={role} --user={who}");
        kubectl.run(words.split(' ')).await?.success()?;
    }
    Ok(())
}

/// A time in the form of Git. Some seconds earlier, as a client's clock and its way to the API server may have it.
fn hours_from_now(hours: i64) -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    format!("{then:.0}")
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let api = "connect.privateconnect.co/v1alpha1";
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

// === impl Row ===

impl Row {
    async fn is_answered(&self, kubectl: &Kubectl) -> Result<()> {
        let kubectl = kubectl.clone().in_namespace(self.namespace);
        let create = "create -f -";
        let (words, input) = match &self.asks {
            To(words) => ((*words).to_owned(), String::new()),
            Expose(spec) => (create.to_owned(), object("ServiceExpose", "asked", spec).to_string()),
            Share(spec) => (create.to_owned(), object("EnvironmentShare", "asked", spec).to_string()),
            Change(spec) => (
                format!("patch envshare kept --type=merge --patch {}", json!({ "spec": spec })),
                String::new(),
            ),
        };
        let mut words: Vec<&str> = words.split(' ').collect();
        if words[0] != "get" {
            words.push("--dry-run=server");
        }
        words.extend(["--as", self.who]);
        let said = kubectl.run_with_input(words, &input).await?;
        match self.refused {
            None => said.success().map(drop),
            Some(words) => {
                let said = said.fails_with(1)?;
                ensure!(
                    said.stderr.contains(words),
                    "refused in other words than {words:?}: {}",
                    said.report()
                );
                Ok(())
            }
        }
    }
}
