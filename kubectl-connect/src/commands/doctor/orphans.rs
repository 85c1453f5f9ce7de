//! Shares that a hub holds for the operator and that no object owns, by the hub's own list. The operator closes such shares
//! within minutes; they stay where none is at work.

use std::collections::BTreeSet;

use connect_crds::{EMBEDDED_HUB_SECRET, IDENTITY_SECRET, ShareMarker, Signature, secret_key};
use connect_hub::client::{Client, ClientOptions, ShareRow};
use connect_hub::tls;
use connect_hub::url::{HubUrl, InsecureHttp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use secrecy::SecretString;

use super::{Check, Result};
use crate::cluster::failure::{Call, Kind};
use crate::cluster::{Cluster, shares};
use crate::failure::root;
use crate::output;
use crate::settings::doctor::DoctorSettings;

/// How the operator enters its hub.
struct Entry {
    agent: uuid::Uuid,
    key: SecretString,
    urls: Vec<HubUrl>,
}

pub(super) async fn look(cluster: &Cluster, settings: &DoctorSettings, hubs: &BTreeSet<String>) -> Check {
    let entry = match entry(cluster, settings, hubs).await {
        Ok(entry) => entry,
        Err(check) => return check,
    };
    // The hub first: an object is there before its share, so whatever is listed now has its object listed next.
    let rows = match rows(&entry).await {
        Ok(rows) => rows,
        Err(check) => return check,
    };
    let objects = match shares::list(cluster, None, None).await {
        Ok(objects) => objects,
        Err(failure) => return Check { result: Result::Warning, ..Check::of(&failure) },
    };
    let owned = objects.iter().filter_map(|share| Some(ShareMarker::of(&share.uid()?))).collect();
    judge(&rows, &owned)
}

fn judge(rows: &[ShareRow], owned: &BTreeSet<ShareMarker>) -> Check {
    let name = |row: &ShareRow| ShareMarker::shown(row.name.as_deref().unwrap_or_default()).to_owned();
    let is_owned = |marker: &ShareMarker| owned.iter().any(|whole| marker.may_be(whole));
    let is_orphan = |row: &&ShareRow| {
        let signature = Signature::of_row(row.idempotency_key.as_deref(), row.name.as_deref());
        signature.is_none_or(|signature| !is_owned(&signature.marker))
    };
    let orphans: Vec<String> = rows
        .iter()
        .filter(is_orphan)
        .map(|row| format!("{} (until {})", name(row), output::date(row.expires_at)))
        .collect();
    let held = output::counted(i64::try_from(rows.len()).unwrap_or(i64::MAX), "share");
    if orphans.is_empty() {
        return Check::ok(format!("the hub holds {held} for the operator, none without an object here"));
    }
    Check::warning(
        format!("the hub holds shares that no object here owns: {}", orphans.join(", ")),
        "The operator closes them within three minutes; without an operator they stay until then.",
    )
}

/// What the operator's Secrets say, as far as they may be read.
async fn entry(
    cluster: &Cluster,
    settings: &DoctorSettings,
    hubs: &BTreeSet<String>,
) -> std::result::Result<Entry, Check> {
    let namespace = &settings.operator_namespace;
    let identity = secret(cluster, namespace, IDENTITY_SECRET).await?;
    let Some(agent) =
        identity.as_ref().and_then(|identity| text(identity, secret_key::AGENT_ID)?.parse().ok())
    else {
        return Err(Check::ok(format!("no operator of namespace {namespace} has ever entered a hub")));
    };
    let parse = |text: &str| HubUrl::parse(text, InsecureHttp::Allowed).ok();
    // The embedded hub listens to the operator where only the operator can reach it.
    if let Some(embedded) = secret(cluster, namespace, EMBEDDED_HUB_SECRET).await?
        && let Some(key) = text(&embedded, secret_key::API_KEY)
    {
        let urls: Vec<HubUrl> = hubs.iter().filter_map(|url| parse(url)).collect();
        return if urls.is_empty() {
            Err(Check::ok("nothing is shared here, so where the operator's own hub listens is not known"))
        } else {
            Ok(Entry { agent, key: key.into(), urls })
        };
    }
    let url = identity.and_then(|identity| parse(&text(&identity, secret_key::HUB_URL)?));
    let url = url.ok_or_else(|| Check::ok("the operator's identity names no hub"))?;
    let kept = settings.credentials.key_for(&url).map_err(|failure| Check::of(&failure))?;
    let given = settings.api_key.clone().and_then(|key| key.meant_for(&url));
    match given.or(kept) {
        Some(key) => Ok(Entry { agent, key, urls: vec![url] }),
        None => Err(Check::warning(
            format!("what hub {url} holds for the operator cannot be asked without an API key"),
            format!("Log in once: kubectl connect login --hub {}", url.in_shell()),
        )),
    }
}

/// The hub that the operator entered last, where that is one that others can reach too and its Secrets may be read.
pub(super) async fn hub_of_operator(cluster: &Cluster, settings: &DoctorSettings) -> Option<String> {
    let namespace = &settings.operator_namespace;
    let identity = secret(cluster, namespace, IDENTITY_SECRET).await.ok()??;
    let embedded = secret(cluster, namespace, EMBEDDED_HUB_SECRET).await.ok()?;
    if embedded.is_some() { None } else { text(&identity, secret_key::HUB_URL) }
}

async fn secret(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> std::result::Result<Option<Secret>, Check> {
    let api: Api<Secret> = Api::namespaced(cluster.client(), namespace);
    let call = Call { verb: "get", kind: Kind::Secret, name: Some(name), namespace: Some(namespace) };
    cluster.ask_maybe(&call, api.get(name)).await.map_err(|_| {
        Check::warning(
            "what the hub holds for the operator cannot be checked: you have no permission to read its Secrets",
            format!("Ask for the verb get on secrets in namespace {namespace}, or ask its administrator."),
        )
    })
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

/// The list of the first hub that knows the operator.
async fn rows(entry: &Entry) -> std::result::Result<Vec<ShareRow>, Check> {
    let tls =
        tls::client_config(None).map_err(|error| Check::failed(format!("cannot speak TLS: {error}"), ""))?;
    let mut last = None;
    for url in &entry.urls {
        let options = ClientOptions { api_key: Some(entry.key.clone()), tls: tls.clone() };
        let listed = match Client::new(url.clone(), options) {
            Ok(client) => client.shares(entry.agent).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(rows) => return Ok(rows),
            Err(error) => last = Some(format!("hub {url} does not list its shares: {}", root(&error))),
        }
    }
    Err(Check::warning(
        last.unwrap_or_default(),
        "Make sure the hub is running, and the operator's key is valid.",
    ))
}
