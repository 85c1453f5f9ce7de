//! A namespace per test, so that tests run beside each other and leave nothing.

use std::process::Stdio;

use anyhow::Result;

use crate::control_plane::{ControlPlane, Kubectl, random_hex};

/// Bytes of randomness in a namespace's name: enough that two tests never meet.
const SUFFIX_BYTES: usize = 4;

/// A namespace that is deleted when this value is dropped.
pub struct Namespace {
    name: String,
    kubectl: Kubectl,
    /// Whether it stays when this value is dropped.
    kept: bool,
}

impl Namespace {
    /// Makes a namespace called after its purpose.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(cluster: &ControlPlane, purpose: &str) -> Result<Self> {
        Self::create_with(cluster.kubectl(), purpose).await
    }

    /// As [`Namespace::create`], by this kubectl.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create_with(kubectl: Kubectl, purpose: &str) -> Result<Self> {
        Self::named(kubectl, &unique_name(purpose)?).await
    }

    /// A namespace of just this name.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn named(kubectl: Kubectl, name: &str) -> Result<Self> {
        kubectl.run(["create", "namespace", name]).await?.success()?;
        Ok(Self { name: name.to_owned(), kubectl, kept: false })
    }

    /// Deletes it, with all that is in it, and waits until it is gone.
    ///
    /// # Errors
    /// The API server does not let us, or it does not go in time.
    pub async fn delete(self) -> Result<()> {
        let words = ["delete", "namespace", &self.name, "--ignore-not-found"];
        self.kubectl.run(words).await?.success()?;
        self.keep();
        Ok(())
    }

    /// Leaves it where it is.
    pub fn keep(mut self) -> String {
        self.kept = true;
        std::mem::take(&mut self.name)
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl that means this namespace.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl.clone().in_namespace(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut delete = self.kubectl.command(["delete", "namespace", &self.name, "--wait=false"]);
        // The control plane may be gone already; it takes the namespace along then.
        let _ = delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A name that nobody else has chosen.
pub(crate) fn unique_name(purpose: &str) -> Result<String> {
    Ok(format!("{purpose}-{}", random_hex::<SUFFIX_BYTES>()?))
}
