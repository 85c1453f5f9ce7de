//! What the guide and its examples tell people to use: its commands run, and each example fits the chart and the action.

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane;
use connect_tests::plugin;
use connect_tests::toolchain;
use serde_json::Value;

use crate::chart::PREVIEW;
use crate::guides::{code_blocks, run};
use connect_tests::helm::{Helm, the};

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(format!("{ROOT}/{path}")).with_context(|| format!("cannot read {path}"))
}

fn example(name: &str) -> Result<Vec<Value>> {
    let text = read(&format!("charts/preview-environment/examples/{name}"))?;
    text.split("\n---\n").map(|text| serde_saphyr::from_str(text).with_context(|| name.to_owned())).collect()
}

#[tokio::test]
async fn the_guide_s_commands_make_a_share() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let blocks = code_blocks(&read("charts/preview-environment/README.md")?);
    let kubectl = plugin::with_plugin(&cluster.kubectl()).await?;
    let kubectl = kubectl.with_plugins(toolchain::helm().await?.parent().context("a folder")?);
    let said = run(&kubectl, ROOT, blocks.first().context("a block of code")?).await;
    cluster.kubectl().run(["delete", "namespace", "pr-7", "--wait=false"]).await?.success()?;
    let said = said?;
    ensure!(said.contains("STATUS: deployed") && said.contains("Friendly name: PR-7"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_examples_values_are_the_chart_s() -> Result<()> {
    let helm = Helm::new().await?;
    let folder = control_plane::shared().await?.folder("preview-examples")?;
    let argo = example("applicationset.yaml")?;
    let sources = &argo[0]["spec"]["template"]["spec"]["sources"];
    let flux = example("resourceset.yaml")?;
    let resources = flux[1]["spec"]["resources"].as_array().context("resources")?;
    let release = resources.iter().find(|it| it["kind"] == "HelmRelease").context("a release")?;
    for (values, number) in [
        (&sources[1]["helm"]["valuesObject"], "{{.number}}"),
        (&release["spec"]["values"], "<< inputs.id >>"),
    ] {
        ensure!(values.is_object(), "no values for {number}");
        let path = folder.join("values.json");
        std::fs::write(&path, values.to_string().replace(number, "7"))?;
        let settings = ["--values", path.to_str().context("a path")?];
        let objects = helm.objects_of(PREVIEW, "pr-7", "pr-7", &settings).await?;
        assert_eq!(the(&objects, "EnvironmentShare")?["spec"]["displayName"], "PR-7");
        assert_eq!(the(&objects, "ServiceExpose")?["spec"]["serviceRef"]["name"], "api");
    }
    Ok(())
}

#[test]
fn the_pipelines_call_what_is_there() -> Result<()> {
    let action: Value = serde_saphyr::from_str(&read(".github/actions/preview/action.yml")?)?;
    let workflow = example("github.yaml")?;
    let step = &workflow[0]["jobs"]["share"]["steps"][0];
    let uses = step["uses"].as_str().context("uses")?;
    ensure!(uses.ends_with("/.github/actions/preview@v0.1.0"), "{uses}");
    let given = step["with"].as_object().context("inputs")?;
    let inputs = action["inputs"].as_object().context("inputs")?;
    ensure!(given.keys().all(|input| inputs.contains_key(input)), "{given:?}");
    let needed = inputs.iter().filter(|(_, input)| input["required"] == true);
    ensure!(needed.into_iter().all(|(name, _)| given.contains_key(name)), "{given:?}");

    let script = read(".github/actions/preview/preview.sh")?;
    let environment = &action["runs"]["steps"][0]["env"];
    for name in environment.as_object().context("variables")?.keys().filter(|name| *name != "VERB") {
        let used = script.contains(&format!("${{{name}")) || script.contains(&format!("${name}"));
        ensure!(used || read(".github/actions/preview/github.sh")?.contains(&format!("${name}")), "{name}");
    }
    let gitlab = read("charts/preview-environment/examples/gitlab.yaml")?;
    for verb in ["share", "end"] {
        let call = format!("- .private-connect/.github/actions/preview/preview.sh {verb}\n");
        ensure!(gitlab.contains(&call), "{call}");
    }
    let jobs: Value = serde_saphyr::from_str(&gitlab)?;
    assert_eq!(jobs["share"]["environment"]["on_stop"], "end");
    Ok(())
}
