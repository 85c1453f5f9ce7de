//! Objects that a GitOps tool manages: it puts back what somebody else changes, and makes again what deletes itself.

use std::fmt;

use kube::{Resource, ResourceExt};

/// Annotations and labels by which the tools mark what they manage.
const MARKS: [(&str, Tool); 4] = [
    ("argocd.argoproj.io/tracking-id", Tool::ArgoCd),
    ("argocd.argoproj.io/instance", Tool::ArgoCd),
    ("kustomize.toolkit.fluxcd.io/name", Tool::Flux),
    ("helm.toolkit.fluxcd.io/name", Tool::Flux),
];

/// A tool that applies what is in Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Argo CD.
    ArgoCd,
    /// Flux.
    Flux,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ArgoCd => "Argo CD",
            Self::Flux => "Flux",
        })
    }
}

/// The tool that manages this object, if one does.
pub fn manager<K: Resource>(object: &K) -> Option<Tool> {
    let has = |key: &str| object.annotations().contains_key(key) || object.labels().contains_key(key);
    MARKS.iter().find(|(key, _)| has(key)).map(|(_, tool)| *tool)
}
