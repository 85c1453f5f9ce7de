//! The demo in somebody else's cluster: definitions and services go there; hub and operator run here when they can reach it.
//!
//! An operator that is there already is used as it is. Else ours runs on this machine, and that works only where this machine
//! reaches ClusterIPs: on a node, through a VPN, or beside a control plane of ours.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backends::Backends;
use super::stage::{OPERATOR, Stage};
use crate::control_plane::{ClusterAccess, Kubectl, definitions};
use crate::hub::Hub;
use crate::namespace::Namespace;
use crate::operator::{HubChoice, Operator, Setup};
use crate::plugin::with_plugin;
use crate::scratch::Scratch;
use crate::services;
use crate::toolchain;
use connect_tools::say;

/// The Lease that every operator holds.
const LEASE: &str = "private-connect-operator";

/// What both kinds are called among definitions.
const DEFINITIONS: [&str; 2] =
    ["serviceexposes.connect.privateconnect.co", "environmentshares.connect.privateconnect.co"];

/// Longest wait for a first byte's worth of connection to a ClusterIP.
const REACH: Duration = Duration::from_secs(3);

/// The Service that every cluster has.
const API_SERVICE: (&str, u16) = ("kubernetes", 443);

/// A stage in the cluster of this context.
pub(super) async fn stage(context: &str) -> Result<Stage> {
    let program = toolchain::kubectl().await?;
    let kubectl = with_plugin(&Kubectl::of_this_machine(program).in_context(context)).await?;
    kubectl.run(["version"]).await?.success().with_context(|| format!("context {context} leads nowhere"))?;
    define(&kubectl).await?;

    let mut guests = Vec::new();
    let scratch = Scratch::new("demo")?;
    let (hub, operator) = match running_operator(&kubectl).await? {
        Some(holder) => {
            say(format_args!("Using the operator {holder} that is in the cluster"));
            (None, None)
        }
        None => {
            must_reach_services(&kubectl, context).await?;
            let (hub, operator, namespace) = operate(&kubectl, context, &scratch).await?;
            guests.push(namespace);
            (Some(hub), Some(operator))
        }
    };
    let demo = Namespace::create_with(kubectl, "connect-demo").await?;
    say(format_args!("Using namespace {}, which goes when the demo ends", demo.name()));
    let kubectl = demo.kubectl();
    guests.push(demo);
    let backends = Some(Backends::start(&kubectl, scratch.path()).await?);
    Ok(Stage { backends, operator, hub, cluster: None, kubectl, guests, scratch: Some(scratch) })
}

/// Makes the definitions of both kinds, unless they are there: those belong to whoever installed them, Helm perhaps.
async fn define(kubectl: &Kubectl) -> Result<()> {
    let known = kubectl.run(["get", "crd"].iter().chain(&DEFINITIONS)).await?;
    if known.code == Some(0) {
        say("Using the definitions of both kinds that are in the cluster");
        return Ok(());
    }
    kubectl.run(["apply", "--server-side", "--filename", definitions::FOLDER]).await?.success()?;
    say(format_args!(
        "Made the definitions of both kinds; they stay (`kubectl delete crd {}`)",
        DEFINITIONS.join(" ")
    ));
    Ok(())
}

/// Who holds the operator's Lease.
async fn running_operator(kubectl: &Kubectl) -> Result<Option<String>> {
    let field = format!("--field-selector=metadata.name={LEASE}");
    let path = "jsonpath={.items[*].spec.holderIdentity}";
    let said =
        kubectl.run(["get", "leases", "--all-namespaces", &field, "--output", path]).await?.success()?;
    Ok(Some(said.stdout.trim().to_owned()).filter(|holder| !holder.is_empty()))
}

async fn must_reach_services(kubectl: &Kubectl, context: &str) -> Result<()> {
    let in_default = kubectl.clone().in_namespace("default");
    let address: SocketAddr = services::address(&in_default, API_SERVICE.0, API_SERVICE.1).await?;
    // Loopback ClusterIPs are ours to serve on.
    let reached =
        address.ip().is_loopback() || matches!(timeout(REACH, TcpStream::connect(address)).await, Ok(Ok(_)));
    if !reached {
        bail!(
            "no operator runs in the cluster of context {context}, and one on this machine could not serve it because \
             ClusterIPs such as {} are not reachable from here: install the operator in the cluster, then run the demo again",
            address.ip()
        );
    }
    Ok(())
}

async fn operate(kubectl: &Kubectl, context: &str, scratch: &Scratch) -> Result<(Hub, Operator, Namespace)> {
    say("Starting a hub and the operator on this machine");
    let namespace = Namespace::create_with(kubectl.clone(), OPERATOR).await?;
    let hub = Hub::start(&scratch.folder("hub")?, scratch.path()).await?;
    let operator = Operator::start(Setup {
        access: ClusterAccess {
            kubeconfig: None,
            context: Some(context.to_owned()),
            needs_rights: None,
            kubectl: kubectl.clone(),
            folder: scratch.folder("operator")?,
            logs: scratch.path().to_owned(),
        },
        hub: HubChoice::from(&hub),
        namespace: namespace.name().to_owned(),
        watched: Vec::new(),
        environment: Vec::new(),
        is_faulty: false,
    })
    .await?;
    Ok((hub, operator, namespace))
}
