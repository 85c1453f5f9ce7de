//! Real helm, run as a person runs it, with a home of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde_json::Value;
use tokio::time::timeout;

use crate::scratch::Scratch;
use crate::toolchain;

/// The chart of the operator.
pub const OPERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/private-connect");

/// No command takes longer; an uninstallation neither, though nobody is there to help it along.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);

/// The release's name in every test: the one that README uses.
pub const RELEASE: &str = "private-connect";

/// helm, for one cluster or for none.
pub struct Helm {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    home: Scratch,
}

impl Helm {
    /// helm that knows no cluster.
    pub async fn new() -> Result<Self> {
        Ok(Self { program: toolchain::helm().await?, kubeconfig: None, home: Scratch::new("helm")? })
    }

    /// helm for the cluster of this kubeconfig.
    pub async fn of(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { kubeconfig: Some(kubeconfig.to_owned()), ..Self::new().await? })
    }

    /// What helm printed.
    pub async fn run(&self, words: &[&str]) -> Result<String> {
        let (succeeded, stdout, stderr) = self.end(words).await?;
        ensure!(succeeded, "`helm {}` failed:\n{stdout}{stderr}", words.join(" "));
        Ok(stdout)
    }

    /// The sentences with which helm refuses to render the operator's chart.
    pub async fn refusal(&self, settings: &[&str]) -> Result<String> {
        self.refusal_of(OPERATOR, settings).await
    }

    /// The sentences with which helm refuses to render a chart.
    pub async fn refusal_of(&self, chart: &str, settings: &[&str]) -> Result<String> {
        let words = [&["template", RELEASE, chart], settings].concat();
        match self.end(&words).await? {
            (false, _, stderr) => Ok(stderr),
            (true, ..) => bail!("helm takes {settings:?}"),
        }
    }

    /// The objects that the operator's chart renders into `namespace`.
    pub async fn objects(&self, namespace: &str, settings: &[&str]) -> Result<Vec<Value>> {
        self.objects_of(OPERATOR, RELEASE, namespace, settings).await
    }

    /// The objects that a chart renders into `namespace` for a release.
    pub async fn objects_of(
        &self,
        chart: &str,
        release: &str,
        namespace: &str,
        settings: &[&str],
    ) -> Result<Vec<Value>> {
        let words = [&["template", release, chart, "--namespace", namespace], settings].concat();
        let yaml = self.run(&words).await?;
        let documents = yaml.split("\n---").map(|text| text.trim_start_matches("---"));
        let objects = documents.map(|text| serde_saphyr::from_str(text).with_context(|| text.to_owned()));
        let objects: Vec<Value> = objects.collect::<Result<_>>()?;
        Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
    }

    async fn end(&self, words: &[&str]) -> Result<(bool, String, String)> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(words).env("HOME", self.home.path()).stdin(Stdio::null()).kill_on_drop(true);
        match &self.kubeconfig {
            Some(kubeconfig) => command.env("KUBECONFIG", kubeconfig),
            None => command.env_remove("KUBECONFIG"),
        };
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env_remove(folder);
        }
        let output = timeout(LONGEST_COMMAND, command.output())
            .await
            .map_err(|_| {
                anyhow!("`helm {}` did not end within {} s", words.join(" "), LONGEST_COMMAND.as_secs())
            })?
            .context("cannot start helm")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    }
}

/// The objects of one kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The only object of this kind.
pub fn the<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    match of_kind(objects, kind)[..] {
        [object] => Ok(object),
        ref found => bail!("{} objects of kind {kind}", found.len()),
    }
}
