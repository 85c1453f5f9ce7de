//! For programs: JSON, YAML, and names as `kubectl get -o name` writes them.

use connect_crds::EnvironmentShare;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::ShareView;
use crate::failure::{Failure, Outcome};
use crate::sanitize::Clean;
use crate::settings::format::Format;

/// Metadata that people write; the rest is the cluster's.
const WRITTEN: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// Fields that say what the cluster assumes anyway; a manifest is for people.
const DEFAULTS: [(&str, &str); 3] = [("revoked", "false"), ("public", "false"), ("protocol", "\"Auto\"")];

/// Indented JSON and a line break.
///
/// # Errors
/// The value cannot be written, which no view of ours is.
pub fn json(value: &impl Serialize) -> Outcome<String> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Failure::new(format!("Cannot write JSON: {error}"))),
    }
}

/// One YAML document.
///
/// # Errors
/// The value cannot be written, which no view of ours is.
pub fn yaml(value: &impl Serialize) -> Outcome<String> {
    // By way of JSON's types, so that both forms say the same.
    let value =
        serde_json::to_value(value).map_err(|error| Failure::new(format!("Cannot write YAML: {error}")))?;
    serde_saphyr::to_string(&value).map_err(|error| Failure::new(format!("Cannot write YAML: {error}")))
}

/// A line for each share.
pub fn names(shares: &[ShareView]) -> String {
    shares.iter().map(|share| format!("{}\n", named::<EnvironmentShare>(&share.name))).collect()
}

/// `kind.group/name`, as `kubectl get -o name` writes it.
pub fn name<K: Resource<DynamicType = ()>>(object: &K) -> String {
    named::<K>(&Clean::new(&object.name_any()))
}

fn named<K: Resource<DynamicType = ()>>(name: &Clean) -> String {
    format!("{}.{}/{name}", K::kind(&()).to_lowercase(), K::group(&()))
}

/// A value as `-o yaml` has it, and as `-o json` otherwise.
///
/// # Errors
/// The value cannot be written, which no view of ours is.
pub fn value(value: &impl Serialize, format: Format) -> Outcome<String> {
    if format == Format::Yaml { yaml(value) } else { json(value) }
}

/// An object as kubectl prints it.
///
/// # Errors
/// The value cannot be written, which no object of ours is.
pub fn object<K>(object: &K, format: Format) -> Outcome<String>
where
    K: Resource<DynamicType = ()> + Serialize + Clone,
{
    if format == Format::Name {
        return Ok(format!("{}\n", name(object)));
    }
    let mut shown = object.clone();
    shown.meta_mut().managed_fields = None;
    value(&shown, format)
}

/// The object as a person would write it.
///
/// # Errors
/// The value cannot be written, which no object of ours is.
pub fn manifest<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Outcome<Value> {
    let mut value = serde_json::to_value(object)
        .map_err(|error| Failure::new(format!("Cannot write the manifest: {error}")))?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(fields) = value["metadata"].as_object_mut() {
        fields.retain(|key, _| WRITTEN.contains(&key.as_str()));
    }
    if let Some(spec) = value["spec"].as_object_mut() {
        spec.retain(|key, value| !DEFAULTS.contains(&(key.as_str(), value.to_string().as_str())));
    }
    Ok(value)
}

/// Several shares as one document.
#[derive(Serialize)]
pub struct Shares<'a> {
    /// The shares, by namespace and name.
    pub shares: &'a [ShareView],
}
