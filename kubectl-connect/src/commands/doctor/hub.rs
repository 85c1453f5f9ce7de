//! Whether the hubs that the cluster speaks of answer this machine, and what they are.

use std::collections::{BTreeMap, BTreeSet};

use connect_crds::{HUB_SECRET_TYPE, SHARE_CODE_SECRET_TYPE, secret_key};
use connect_hub::Error;
use connect_hub::client::{Client, ClientOptions};
use connect_hub::tls;
use connect_hub::url::{HubUrl, InsecureHttp};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;

use super::{Check, Result, objects, orphans};
use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::failure::{advice, root};
use crate::sanitize::Clean;
use crate::settings::doctor::DoctorSettings;

/// The hubs that the cluster speaks of, those that shares wait for, and the one that was asked for.
pub(super) async fn known(
    cluster: &Cluster,
    settings: &DoctorSettings,
    waiting: &BTreeMap<String, Vec<String>>,
) -> BTreeSet<String> {
    let mut urls: BTreeSet<String> = settings.hub.iter().map(|url| url.to_string()).collect();
    urls.extend(named(cluster, SHARE_CODE_SECRET_TYPE, secret_key::HUB_URL).await);
    urls.extend(named(cluster, HUB_SECRET_TYPE, secret_key::URL).await);
    urls.extend(waiting.keys().filter(|hub| hub.contains("://")).cloned());
    urls.extend(orphans::hub_of_operator(cluster, settings).await);
    urls
}

/// Each hub, and those that are down.
pub(super) async fn look(
    urls: &BTreeSet<String>,
    waiting: &BTreeMap<String, Vec<String>>,
) -> (Vec<Check>, BTreeSet<String>) {
    if urls.is_empty() {
        let check = Check::warning(
            "no hub could be checked: nothing is shared in this namespace, or you have no permission to read its Secrets",
            "Name one with --hub URL.",
        );
        return (vec![check], BTreeSet::new());
    }
    let mut checks = Vec::new();
    let mut down = BTreeSet::new();
    for url in urls {
        let mut check = check(url).await;
        if check.result == Result::Failed {
            if let Some(names) = waiting.get(url) {
                let said = format!("{}; {} wait for it", check.description, objects::list(names));
                check.description = Clean::new(&said);
            }
            down.insert(url.clone());
        }
        checks.push(check);
    }
    (checks, down)
}

/// The hubs that Secrets of this type name under this key; none where they may not be read.
async fn named(cluster: &Cluster, type_: &str, key: &str) -> Vec<String> {
    let api: Api<Secret> = Api::namespaced(cluster.client(), cluster.namespace());
    let call = Call { verb: "list", kind: Kind::Secret, name: None, namespace: Some(cluster.namespace()) };
    let params = ListParams::default().fields(&format!("type={type_}"));
    let Ok(secrets) = cluster.ask(&call, api.list(&params)).await else { return Vec::new() };
    let text = |secret: Secret| String::from_utf8(secret.data?.remove(key)?.0).ok();
    secrets.items.into_iter().filter_map(text).collect()
}

/// Longest name or version of a hub that is shown, in characters.
const LONGEST_WORD: usize = 40;

/// Whether a hub's name or version is one word and no more: anybody may have written it.
fn is_plain(word: &str) -> bool {
    word.len() <= LONGEST_WORD
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'+' | b'_'))
}

async fn check(text: &str) -> Check {
    let url = match HubUrl::parse(text, InsecureHttp::Allowed) {
        Ok(url) => url,
        Err(error) => {
            return Check::failed(format!("a Secret has no usable hub URL: {error}"), "Correct its URL.");
        }
    };
    let options = tls::client_config(None).map(|tls| ClientOptions { api_key: None, tls });
    let client = match options.map(|options| Client::new(url.clone(), options)) {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Check::failed(format!("cannot connect to hub at {url}: {error}"), ""),
        Err(error) => return Check::failed(format!("cannot speak TLS: {error}"), ""),
    };
    match client.health().await {
        Ok(health) => {
            let hub = health.hub.filter(|name| is_plain(name)).unwrap_or_else(|| "a hub".to_owned());
            let version = health.version.filter(|version| is_plain(version));
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            Check::ok(format!("hub {url} answers: {hub}{version}"))
        }
        Err(Error::Obstructed { obstacle, .. }) => {
            Check::failed(format!("cannot reach hub at {url}: {}", obstacle.what()), advice(&obstacle))
        }
        Err(error) => Check::failed(
            format!("cannot connect to hub at {url}: {}", root(&error)),
            "Make sure the hub is running and accessible, from here as for your teammates.",
        ),
    }
}
