//! Names that a cluster or a kubeconfig knows. Every failure means: no names.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use connect_crds::{EnvironmentShare, ServiceExpose};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};

use super::line::Names;
use super::{Candidate, PATIENCE};
use crate::cluster::Cluster;
use crate::cluster::codes::{self, Access, Code};
use crate::cluster::services;
use crate::settings::ClusterSettings;
use crate::views::ShareView;

/// Objects that are listed at most: nobody reads more words than that.
const MAX_NAMES: u32 = 500;

/// The names, for a line with these flags.
pub fn find(names: Names, flags: &BTreeMap<String, String>) -> Vec<Candidate> {
    match names {
        Names::Contexts => {
            of_kubeconfig(flags, |config| config.contexts.into_iter().map(|it| it.name).collect())
        }
        Names::Clusters => {
            of_kubeconfig(flags, |config| config.clusters.into_iter().map(|it| it.name).collect())
        }
        Names::Users => {
            of_kubeconfig(flags, |config| config.auth_infos.into_iter().map(|it| it.name).collect())
        }
        _ => of_cluster(names, flags).unwrap_or_default(),
    }
}

fn of_kubeconfig(
    flags: &BTreeMap<String, String>,
    names: impl FnOnce(Kubeconfig) -> Vec<String>,
) -> Vec<Candidate> {
    let read = match flags.get("kubeconfig") {
        Some(path) => Kubeconfig::read_from(Path::new(path)),
        None => Kubeconfig::read(),
    };
    let names = read.map(names).unwrap_or_default();
    names.into_iter().map(|name| Candidate::new(name, "")).collect()
}

fn of_cluster(names: Names, flags: &BTreeMap<String, String>) -> Option<Vec<Candidate>> {
    // Fails only when one is installed already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let found = runtime.block_on(async {
        let cluster = Cluster::connect(settings(flags)).await.ok()?;
        ask(names, &cluster).await
    });
    runtime.shutdown_background();
    found
}

fn settings(flags: &BTreeMap<String, String>) -> ClusterSettings {
    let flag = |name: &str| flags.get(name).filter(|value| !value.is_empty()).cloned();
    ClusterSettings {
        kubeconfig: flag("kubeconfig").map(Into::into),
        context: flag("context"),
        cluster: flag("cluster"),
        user: flag("user"),
        namespace: flag("namespace"),
        as_user: flag("as"),
        as_group: flag("as-group").into_iter().collect(),
        request_timeout: PATIENCE,
    }
}

async fn ask(names: Names, cluster: &Cluster) -> Option<Vec<Candidate>> {
    match names {
        Names::Namespaces => {
            let namespaces: Api<Namespace> = Api::all(cluster.client());
            Some(named(&list(&namespaces).await?, |_| String::new()))
        }
        Names::Services => {
            let services: Api<Service> = Api::namespaced(cluster.client(), cluster.namespace());
            Some(ports(&list(&services).await?))
        }
        Names::Exposes => {
            let exposes: Api<ServiceExpose> = Api::namespaced(cluster.client(), cluster.namespace());
            Some(named(&list(&exposes).await?, |expose| format!("Service {}", expose.spec.service_ref.name)))
        }
        Names::Shares => Some(titled(&shares(cluster).await?, cluster)),
        Names::LiveShares => Some(titled(&live(shares(cluster).await?, cluster), cluster)),
        Names::Codes => {
            let shares = shares(cluster).await?;
            codes(cluster, &shares, Code::token).await
        }
        Names::LiveSharesAndCodes => {
            let shares = live(shares(cluster).await?, cluster);
            let mut all = titled(&shares, cluster);
            all.extend(codes(cluster, &shares, |code| code.code.clone()).await.unwrap_or_default());
            Some(all)
        }
        Names::Contexts | Names::Clusters | Names::Users => None,
    }
}

async fn shares(cluster: &Cluster) -> Option<Vec<EnvironmentShare>> {
    list(&Api::namespaced(cluster.client(), cluster.namespace())).await
}

/// The shares that have not ended: the others cannot be changed any more.
fn live(mut shares: Vec<EnvironmentShare>, cluster: &Cluster) -> Vec<EnvironmentShare> {
    let now = cluster.now();
    shares.retain(|share| !ShareView::new(share, &Access::Absent, now).is_over);
    shares
}

/// The codes that can be joined with now, and whose Secrets the user may read, each as `word` has it.
async fn codes(
    cluster: &Cluster,
    shares: &[EnvironmentShare],
    word: impl Fn(&Code) -> SecretString,
) -> Option<Vec<Candidate>> {
    let codes = in_time(codes::read_all(cluster, Some(cluster.namespace()), shares)).await?.ok()?;
    let now = cluster.now();
    let known = shares.iter().filter_map(|share| {
        let access = codes.of(share);
        ShareView::new(share, &access, now).code?;
        let Access::Granted(code) = access else { return None };
        Some(Candidate::new(word(&code).expose_secret(), share.name_any()))
    });
    Some(known.collect())
}

async fn list<K>(api: &Api<K>) -> Option<Vec<K>>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let list = in_time(api.list(&ListParams::default().limit(MAX_NAMES))).await?.ok()?;
    Some(list.items)
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, answer).await.ok()
}

fn named<K: ResourceExt>(objects: &[K], about: impl Fn(&K) -> String) -> Vec<Candidate> {
    objects.iter().map(|object| Candidate::new(object.name_any(), about(object))).collect()
}

/// Each with its friendly name and its state.
fn titled(shares: &[EnvironmentShare], cluster: &Cluster) -> Vec<Candidate> {
    let now = cluster.now();
    named(shares, |share| {
        let view = ShareView::new(share, &Access::Forbidden, now);
        match view.display_name {
            Some(name) => format!("{name}, {}", view.state),
            None => view.state.to_string(),
        }
    })
}

/// `SERVICE:PORT` for every port that can be exposed.
fn ports(services: &[Service]) -> Vec<Candidate> {
    let ports = services.iter().flat_map(|service| {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
        let tcp = ports.into_iter().filter(services::is_tcp);
        tcp.map(|port| {
            Candidate::new(format!("{}:{}", service.name_any(), port.port), port.name.unwrap_or_default())
        })
    });
    ports.collect()
}
