//! The CustomResourceDefinitions as committed in `crds/`, applied and served.

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

use crate::wait::{SOON, eventually};

/// The folder with the YAML files.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

/// Name of our field manager.
const MANAGER: &str = "connect-tests";

/// Applies every definition in `crds/` and waits until the API server serves them.
pub(super) async fn install(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (name, definition) in committed_definitions()? {
        definitions
            .patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&definition))
            .await
            .with_context(|| format!("the API server refuses the definition {name}"))?;
        eventually("the definition is established", SOON, || async {
            let conditions = definitions.get(&name).await?.status.unwrap_or_default().conditions;
            let conditions = conditions.unwrap_or_default();
            let served = conditions.iter().any(|it| it.type_ == "Established" && it.status == "True");
            served.then_some(()).with_context(|| format!("{name}: {conditions:?}"))
        })
        .await?;
    }
    Ok(())
}

/// The committed YAML files, by the definitions' names.
fn committed_definitions() -> Result<Vec<(String, serde_json::Value)>> {
    let mut definitions = Vec::new();
    for entry in std::fs::read_dir(FOLDER).context("cannot list crds/")? {
        let path = entry.context("cannot list crds/")?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let definition: serde_json::Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?;
        let name = definition["metadata"]["name"].as_str().context("a definition without a name")?.to_owned();
        definitions.push((name, definition));
    }
    Ok(definitions)
}
