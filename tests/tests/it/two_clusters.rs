//! Two clusters with the same manifests, and one key of one workspace: what GitOps makes. Neither may touch the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind, reason};
use connect_tests::control_plane::{self, ControlPlane, Kubectl, Options};
use connect_tests::hub::Hub;
use connect_tests::operator::{HubChoice, Operator, Setup};
use connect_tests::plugin;
use connect_tests::services;
use connect_tests::teammate::Teammate;
use connect_tests::vendor_hub::VendorHub;
use connect_tests::wait::{SOON, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The Secret of the operator's identity.
const IDENTITY: &str = "private-connect-identity";

/// The Secret of the share's code.
const CODE: &str = "demo-share-code";

/// The route, and its port.
const DB: (&str, u16) = ("db", 5432);

/// One of the clusters: its operator, and a database that says where it is.
struct Side {
    name: &'static str,
    namespace: String,
    /// `None` only while it is started again.
    operator: Option<Operator>,
    kubectl: Kubectl,
    cluster: &'static ControlPlane,
    database: JoinHandle<()>,
    key_file: PathBuf,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.database.abort();
    }
}

impl Side {
    /// An operator in this cluster, and the manifests that are the same in every cluster.
    async fn start(
        name: &'static str,
        cluster: &'static ControlPlane,
        namespace: &str,
        hub: HubChoice,
    ) -> Result<Self> {
        let HubChoice::At { key_file, .. } = hub.clone() else { bail!("the hub is another process") };
        let operator = Operator::start(Setup {
            access: cluster.operator_access(namespace)?,
            hub,
            namespace: namespace.to_owned(),
            watched: vec![namespace.to_owned()],
            environment: Vec::new(),
            is_faulty: false,
        })
        .await?;
        let kubectl = plugin::with_plugin(&cluster.kubectl().in_namespace(namespace)).await?;
        let database = says(services::service(&kubectl, DB.0, DB.1).await?, name).await?;
        plugin::expose(&kubectl, "db:5432").await?;
        let share = json!({
            "apiVersion": "connect.privateconnect.co/v1alpha1",
            "kind": "EnvironmentShare",
            "metadata": { "name": "demo" },
            "spec": {},
        });
        kubectl.apply(&share.to_string()).await?;
        let side = Self {
            name,
            namespace: namespace.to_owned(),
            operator: Some(operator),
            kubectl,
            cluster,
            database,
            key_file,
        };
        side.is_shared().await.map(|_| side)
    }

    /// Kills the operator without warning and starts it again.
    async fn restarted(mut self) -> Result<Self> {
        let mut operator = self.operator.take().context("it runs")?;
        operator.process().kill()?;
        self.operator = Some(operator.restart().await?);
        Ok(self)
    }

    async fn share(&self) -> Result<EnvironmentShare> {
        let shares: Api<EnvironmentShare> = Api::namespaced(self.cluster.client().await?, &self.namespace);
        Ok(shares.get("demo").await?)
    }

    async fn is_shared(&self) -> Result<EnvironmentShare> {
        eventually(&format!("the share of {} is ready", self.name), SOON, || async {
            let share = self.share().await?;
            let conditions = share.status.clone().unwrap_or_default().conditions;
            let ready = condition::find(&conditions, kind::READY)
                .is_some_and(|ready| ready.status == "True" && ready.reason == reason::SHARED);
            ensure!(ready, "it says {conditions:?}");
            Ok(share)
        })
        .await
    }

    async fn secret(&self, name: &str) -> Result<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client().await?, &self.namespace);
        Ok(secrets.get(name).await?)
    }

    async fn agent(&self) -> Result<String> {
        let data = self.secret(IDENTITY).await?.data.unwrap_or_default();
        Ok(String::from_utf8(data.get("agentId").context("it has an agent id")?.0.clone())?)
    }

    async fn join_words(&self) -> Result<Vec<String>> {
        let data = self.secret(CODE).await?.data.unwrap_or_default();
        let command = String::from_utf8(data.get("joinCommand").context("it has a command")?.0.clone())?;
        Ok(command.split_whitespace().skip(1).map(str::to_owned).collect())
    }

    /// Joins with this cluster's code and says whose database answers.
    async fn answers(&self, teammate: &str) -> Result<String> {
        let mut words = self.join_words().await?;
        // Some hubs want an account of those who join.
        words.extend(["--api-key-file".to_owned(), self.key_file.display().to_string()]);
        let joined = Teammate::join(&self.kubectl, teammate, &words, &[DB.0]).await?;
        let answer = hear(joined.address(DB.0)?).await?;
        joined.leave()?;
        Ok(answer)
    }
}

/// A server that says this to everybody.
async fn says(address: SocketAddr, what: &'static str) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    Ok(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(what.as_bytes()).await;
        }
    }))
}

async fn hear(address: SocketAddr) -> Result<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect(address).await?;
    timeout(SOON, stream.read_to_string(&mut text)).await.context("it says nothing")??;
    Ok(text)
}

/// The other cluster; the first is the one that all tests share.
async fn other_cluster() -> Result<&'static ControlPlane> {
    static OTHER: tokio::sync::OnceCell<ControlPlane> = tokio::sync::OnceCell::const_new();
    OTHER.get_or_try_init(|| ControlPlane::start(Options::default())).await
}

/// Production and staging at one hub, in this order; then every code leads to its own cluster, also after the operator that came
/// first is started again.
async fn keep_apart(order: [&'static str; 2], purpose: &str, hub: HubChoice) -> Result<[Side; 2]> {
    let (one, other) = (control_plane::shared().await?, other_cluster().await?);
    let namespace = format!("{purpose}-{}", order[0]);
    let mut first = Side::start(order[0], one, &namespace, hub.clone()).await?;
    assert_eq!(first.answers("early").await?, first.name);
    let code = first.secret(CODE).await?.data;
    let second = Side::start(order[1], other, &namespace, hub).await?;
    for (side, teammate) in [(&second, "alice"), (&first, "bob"), (&second, "carol"), (&first, "dora")] {
        assert_eq!(side.answers(teammate).await?, side.name);
    }
    first = first.restarted().await?;
    for (side, teammate) in [(&first, "erin"), (&second, "frank")] {
        side.is_shared().await?;
        assert_eq!(side.answers(teammate).await?, side.name);
    }
    assert_eq!(first.secret(CODE).await?.data, code, "the other's coming has changed the code");
    Ok([first, second])
}

const ORDERS: [[&str; 2]; 2] = [["production", "staging"], ["staging", "production"]];

#[tokio::test]
async fn a_staging_code_never_reaches_production_at_our_own_hub() -> Result<()> {
    let cluster = control_plane::shared().await?;
    for order in ORDERS {
        let purpose = format!("own-{}", order[0]);
        let hub = Hub::start(&cluster.folder(&purpose)?, &cluster.logs()).await?;
        let [first, second] = keep_apart(order, "apart", HubChoice::from(&hub)).await?;
        let names = names_at(hub.url(), hub.key_file()).await?;
        let makers: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.rsplit_once('@')?.1)).collect();
        assert_eq!((names.len(), makers.len()), (2, 2), "{names:?}");

        // One goes and takes nothing of the other's along.
        first.kubectl.run(["delete", "environmentshare", "demo", "--timeout=60s"]).await?.success()?;
        second.is_shared().await?;
        assert_eq!(second.answers("gina").await?, second.name);
        assert_eq!(names_at(hub.url(), hub.key_file()).await?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_staging_code_never_reaches_production_at_a_hub_without_owners_of_names() -> Result<()> {
    let cluster = control_plane::shared().await?;
    for order in ORDERS {
        let hub = VendorHub::start(&cluster.folder(&format!("vendor-{}", order[0]))?, &[]).await?;
        let choice = HubChoice::At { url: hub.url().to_owned(), key_file: hub.key_file().to_owned() };
        keep_apart(order, "vendor-apart", choice).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_identity_that_a_backup_has_copied_is_not_used_in_another_cluster() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("copied")?, &cluster.logs()).await?;
    let original = Side::start("production", cluster, "copied", HubChoice::from(&hub)).await?;
    let agent = original.agent().await?;

    let elsewhere = other_cluster().await?;
    elsewhere.kubectl().run(["create", "namespace", "copied"]).await?.success()?;
    let mut copy = original.secret(IDENTITY).await?;
    (copy.metadata.resource_version, copy.metadata.uid, copy.metadata.managed_fields) = (None, None, None);
    let secrets: Api<Secret> = Api::namespaced(elsewhere.client().await?, "copied");
    secrets.create(&PostParams::default(), &copy).await?;
    let copied = Side::start("staging", elsewhere, "copied", HubChoice::from(&hub)).await?;

    assert_ne!(copied.agent().await?, agent);
    assert_eq!(original.agent().await?, agent);
    for (side, teammate) in [(&copied, "alice"), (&original, "bob")] {
        assert_eq!(side.answers(teammate).await?, side.name);
    }
    assert_ne!(original.share().await?.uid(), copied.share().await?.uid());
    Ok(())
}

/// The names of all services of the workspace.
async fn names_at(url: &str, key_file: &std::path::Path) -> Result<Vec<String>> {
    let key = std::fs::read_to_string(key_file)?;
    let answer = reqwest::Client::new().get(format!("{url}/v1/services")).header("x-api-key", key.trim());
    let rows: Vec<Value> = serde_json::from_str(&answer.send().await?.error_for_status()?.text().await?)?;
    rows.iter().map(|row| Ok(row["name"].as_str().context("a service has a name")?.to_owned())).collect()
}
