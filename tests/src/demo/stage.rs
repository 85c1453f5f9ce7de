//! The parts that the demo plays with: a control plane, a hub, the operator, and three services.

use anyhow::Result;

use super::backends::Backends;
use crate::control_plane::{ControlPlane, Kubectl, Options};
use crate::hub::Hub;
use crate::lab::Remains;
use crate::namespace::Namespace;
use crate::operator::{HubChoice, Operator, Setup};
use crate::plugin::with_plugin;
use crate::scratch::Scratch;
use crate::toolchain::Need;
use connect_tools::say;

/// Name of our operator, of its user and of the namespace of its own objects.
pub(super) const OPERATOR: &str = "private-connect";

/// Namespace of the shared services in a cluster of our own.
const NAMESPACE: &str = "demo";

/// Everything that runs, in the order in which it ends.
pub struct Stage {
    pub(super) backends: Option<Backends>,
    pub(super) operator: Option<Operator>,
    pub(super) hub: Option<Hub>,
    pub(super) cluster: Option<ControlPlane>,
    /// kubectl with the plugin, in the demo's namespace.
    pub(super) kubectl: Kubectl,
    /// Our namespaces in somebody else's cluster. They are deleted when this is dropped, however the demo ends.
    pub(super) guests: Vec<Namespace>,
    /// Files and logs of what runs beside somebody else's cluster.
    pub(super) scratch: Option<Scratch>,
}

/// A stage in a cluster of our own, with services.
pub(super) async fn own(keep: bool) -> Result<Stage> {
    let mut stage = up(if keep { Need::Everything } else { Need::ApiServer }).await?;
    let kubectl = stage.kubectl.clone();
    kubectl.run(["create", "namespace", NAMESPACE]).await?.success()?;
    let kubectl = kubectl.in_namespace(NAMESPACE);
    if let Some(cluster) = &stage.cluster {
        say("Starting PostgreSQL, Redis and an HTTP server on the ClusterIPs of their Services");
        stage.backends = Some(Backends::start(&kubectl, &cluster.logs()).await?);
    }
    stage.kubectl = kubectl;
    Ok(stage)
}

/// A control plane, a hub and the operator; controllers where people will use it.
///
/// # Errors
/// A part cannot be built or does not start.
pub async fn up(need: Need) -> Result<Stage> {
    let without_controllers = need == Need::ApiServer;
    let cluster = ControlPlane::start(Options { without_controllers, ..Options::default() }).await?;
    let kubectl = with_plugin(&cluster.kubectl()).await?;
    say("Starting a hub and the operator");
    let hub = Hub::start(&cluster.folder("hub")?, &cluster.logs()).await?;
    let operator = Operator::start(Setup {
        access: cluster.access(OPERATOR)?,
        hub: HubChoice::from(&hub),
        namespace: OPERATOR.to_owned(),
        watched: Vec::new(),
        environment: Vec::new(),
        is_faulty: false,
    })
    .await?;
    Ok(Stage {
        backends: None,
        operator: Some(operator),
        hub: Some(hub),
        cluster: Some(cluster),
        kubectl,
        guests: Vec::new(),
        scratch: None,
    })
}

impl Stage {
    /// Ends everything.
    ///
    /// # Errors
    /// Another cluster does not let us delete what we made.
    pub(super) async fn strike(self) -> Result<()> {
        let Self { backends, operator, hub, cluster, guests, scratch, .. } = self;
        // While the operator is there: what it holds in them goes first.
        for namespace in guests {
            say(format_args!("Deleting namespace {}", namespace.name()));
            namespace.delete().await?;
        }
        drop((backends, operator, hub, cluster, scratch));
        say("Everything has ended; nothing is left running.");
        Ok(())
    }

    /// Says what a demo that failed takes away again.
    pub(super) fn mourn(&self) {
        for namespace in &self.guests {
            say(format_args!("The demo failed: deleting its namespace {}", namespace.name()));
        }
    }

    /// Leaves everything running, and says how to use and how to end it.
    ///
    /// # Errors
    /// Where it runs cannot be written down.
    pub fn keep(self) -> Result<()> {
        let Self { backends, operator, hub, cluster, kubectl, guests, scratch } = self;
        let mut remains = Remains::default();
        if let Some(backends) = backends {
            let (processes, folders) = backends.release();
            remains.add(processes, folders);
        }
        let url = hub.as_ref().map(|hub| hub.url().to_owned());
        remains.add(operator.map(Operator::release), None);
        remains.add(hub.map(Hub::release), None);
        if let Some(cluster) = cluster {
            let (processes, folder) = cluster.release();
            remains.add(processes, Some(folder));
        }
        remains.add(None, scratch.map(Scratch::release));
        remains.write()?;
        let guests: Vec<String> = guests.into_iter().map(Namespace::keep).collect();
        usage(&kubectl, url.as_deref(), &guests);
        Ok(())
    }
}

/// What to type to use what was left running.
fn usage(kubectl: &Kubectl, hub: Option<&str>, guests: &[String]) {
    say("\nIt goes on running. In a shell of yours:\n");
    for line in kubectl.exports() {
        say(format_args!("  {line}"));
    }
    say("  kubectl connect share --list");
    if let Some(hub) = hub {
        say(format_args!("  kubectl connect join CODE --hub {hub}"));
    }
    for namespace in guests {
        say(format_args!("  kubectl delete namespace {namespace}     # when you have seen enough"));
    }
    say("\n`make down` ends it.");
}
