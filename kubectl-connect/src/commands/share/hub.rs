//! Which Secret stands for the hub that was asked for.

use connect_crds::{HUB_SECRET_TYPE, HubRef, secret_key};
use connect_hub::url::{HubUrl, InsecureHttp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind, is_forbidden};
use crate::failure::{Failure, Outcome};
use crate::settings::share::HubChoice;

/// The Secret to name in the share; nothing when the operator's own hub is meant.
///
/// # Errors
/// There is none for the hub that was asked for.
pub async fn resolve(cluster: &Cluster, choice: Option<&HubChoice>) -> Outcome<Option<HubRef>> {
    let name = match choice {
        None => return Ok(None),
        Some(HubChoice::Secret(name)) => by_name(cluster, name).await?,
        Some(HubChoice::Url(url)) => {
            let call =
                Call { verb: "list", kind: Kind::Secret, name: None, namespace: Some(cluster.namespace()) };
            let params = ListParams::default().fields(&format!("type={HUB_SECRET_TYPE}"));
            let secrets = cluster.ask(&call, secrets(cluster).list(&params)).await?.items;
            by_url(&secrets, url).ok_or_else(|| none_for(url, cluster.namespace()))?
        }
    };
    Ok(Some(HubRef { name }))
}

/// Whoever may not read Secrets may still name one: it is the operator that reads it.
async fn by_name(cluster: &Cluster, name: &str) -> Outcome<String> {
    let call =
        Call { verb: "get", kind: Kind::Secret, name: Some(name), namespace: Some(cluster.namespace()) };
    let api = secrets(cluster);
    let read = async {
        match api.get(name).await {
            Err(error) if is_forbidden(&error) => Ok(None),
            answer => answer.map(Some),
        }
    };
    match cluster.ask_maybe(&call, read).await? {
        None => {
            Err(Failure::new(format!("Secret {name} does not exist in namespace {}", cluster.namespace()))
                .hint(how_to_create(name, "URL", cluster.namespace())))
        }
        Some(Some(secret)) if secret.type_.as_deref() != Some(HUB_SECRET_TYPE) => Err(Failure::new(format!(
            "Secret {name} does not describe a hub: its type must be {HUB_SECRET_TYPE}"
        ))),
        Some(_) => Ok(name.to_owned()),
    }
}

fn by_url(secrets: &[Secret], wanted: &HubUrl) -> Option<String> {
    secrets.iter().find(|secret| url_of(secret).as_ref() == Some(wanted)).map(ResourceExt::name_any)
}

fn url_of(secret: &Secret) -> Option<HubUrl> {
    let bytes = &secret.data.as_ref()?.get(secret_key::URL)?.0;
    HubUrl::parse(std::str::from_utf8(bytes).ok()?, InsecureHttp::Allowed).ok()
}

fn none_for(url: &HubUrl, namespace: &str) -> Failure {
    Failure::new(format!("No Secret of namespace {namespace} is for the hub {url}"))
        .hint("Leave --hub out to use the operator's hub, or make one:")
        .hint(how_to_create("my-hub", url.as_str(), namespace))
}

fn how_to_create(name: &str, url: &str, namespace: &str) -> String {
    format!(
        "  kubectl create secret generic {name} -n {namespace} --type={HUB_SECRET_TYPE} --from-literal={}={url} --from-file={}=KEY_FILE",
        secret_key::URL,
        secret_key::API_KEY
    )
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client(), cluster.namespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, url_in_base64: &str) -> Secret {
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": name}, "data": {"url": url_in_base64}}),
        )
        .expect("a secret")
    }

    fn url(text: &str) -> HubUrl {
        HubUrl::parse(text, InsecureHttp::Allowed).expect("valid")
    }

    #[test]
    fn a_hub_is_found_by_its_url_however_it_is_written() {
        // "https://hub.example.com/" and "not a url" in base64.
        let secrets = [secret("bad", "bm90IGEgdXJs"), secret("team-hub", "aHR0cHM6Ly9odWIuZXhhbXBsZS5jb20v")];
        assert_eq!(by_url(&secrets, &url("https://HUB.example.com")), Some("team-hub".into()));
        assert_eq!(by_url(&secrets, &url("https://other.example.com")), None);
    }

    #[test]
    fn a_hub_without_a_secret_is_answered_with_the_command_that_makes_one() {
        assert_eq!(
            none_for(&url("https://hub.example.com"), "staging").render(),
            "[x] No Secret of namespace staging is for the hub https://hub.example.com\n\
             Leave --hub out to use the operator's hub, or make one:\n  \
             kubectl create secret generic my-hub -n staging --type=connect.privateconnect.co/hub \
             --from-literal=url=https://hub.example.com --from-file=apiKey=KEY_FILE\n"
        );
    }
}
