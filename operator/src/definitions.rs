//! Whether the cluster's CustomResourceDefinitions know every field that this operator reads and writes.
//!
//! The API server drops, without a word, what they do not know of a spec, such as a limit that somebody set; and it refuses a
//! status with a field that they do not know as a whole, so that not even this could be said. It publishes the definitions to
//! every account at `/openapi/v3`, so that no right is needed to compare them with ours.

use std::collections::BTreeMap;
use std::time::Duration;

use connect_crds::condition::{Verdict, kind, reason};
use connect_crds::definition::{self, Lack};
use connect_crds::{EnvironmentShare, GROUP, ServiceExpose};
use kube::{Client, CustomResourceExt, Resource};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::cluster::call;
use crate::error::{Error, chain};

/// How often it is looked whether the definitions were changed. One small request, which the API server answers from memory.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Missing fields named in a sentence; the rest is counted.
const NAMED: usize = 5;

/// What the definitions lack, as of the last look.
pub struct Definitions {
    /// Definitions --missing fields by kind--> reconcilers
    missing_tx: watch::Sender<Missing>,
    look: Notify,
}

/// Paths of the fields that a kind's definition lacks; no entry for one that has them all.
type Missing = BTreeMap<String, Vec<String>>;

impl Default for Definitions {
    fn default() -> Self {
        Self { missing_tx: watch::Sender::default(), look: Notify::new() }
    }
}

// === impl Definitions ===

impl Definitions {
    /// Looks now, every [`LOOK_EVERY`], and whenever the API server did not know a field. Never ends by itself.
    pub async fn keep(&self, client: &Client) {
        loop {
            match installed(client).await {
                Ok(document) => self.compare(&document),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "cannot read the installed definitions");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.look.notified() => {}
            }
        }
    }

    /// The API server did not know a field that was written.
    pub fn look_now(&self) {
        self.look.notify_one();
    }

    /// Takes out of an object of this kind what its definition does not know, so that the rest can be written.
    pub fn leave_out_unknown<K: Resource<DynamicType = ()>>(&self, object: &mut Value) {
        for path in self.missing_tx.borrow().get(&*K::kind(&())).into_iter().flatten() {
            remove(object, &path.split('.').collect::<Vec<_>>());
        }
    }

    /// Told whenever what is missing has changed.
    pub fn changes(&self) -> watch::Receiver<Missing> {
        self.missing_tx.subscribe()
    }

    /// How many fields the kind's definition lacks.
    pub fn lacks(&self, kind: &str) -> usize {
        self.missing_tx.borrow().get(kind).map_or(0, Vec::len)
    }

    /// The condition Stalled of this kind's objects, while their definition is older than the operator.
    pub fn stalled<K: Resource<DynamicType = ()>>(&self) -> Option<Verdict> {
        let missing = self.missing_tx.borrow();
        let fields = missing.get(&*K::kind(&()))?;
        Some(Verdict::yes(kind::STALLED, reason::CRD_OUTDATED, sentence(&K::plural(&()), fields)))
    }

    fn compare(&self, document: &Value) {
        let kinds = [
            (ServiceExpose::kind(&()), fields_lacked::<ServiceExpose>(document)),
            (EnvironmentShare::kind(&()), fields_lacked::<EnvironmentShare>(document)),
        ];
        let outdated = kinds.into_iter().filter(|(_, fields)| !fields.is_empty());
        let missing: Missing = outdated.map(|(kind, fields)| (kind.into_owned(), fields)).collect();
        self.missing_tx.send_if_modified(|known| {
            let is_news = *known != missing;
            if is_news && missing.is_empty() {
                tracing::info!("the installed definitions are those of this version again");
            }
            if is_news {
                for (kind, fields) in &missing {
                    tracing::warn!(kind, fields = fields.join(", "), "the installed definition is older than the operator; what it does not know is dropped");
                }
                *known = missing;
            }
            is_news
        });
    }
}

/// What the API server publishes of our kinds.
async fn installed(client: &Client) -> Result<Value, Error> {
    let request = http::Request::get(definition::published_at()).body(Vec::new());
    let request = request.expect("a GET of a fixed path is well formed");
    call("reading the installed definitions", client.request(request)).await
}

/// The fields of a kind that the published document lacks. A kind that is not there at all is not an old one; the watches
/// say that it is missing.
fn fields_lacked<K: CustomResourceExt + Resource<DynamicType = ()>>(document: &Value) -> Vec<String> {
    let field = |lack| match lack {
        Lack::Field(path) => Some(path),
        Lack::Value { .. } | Lack::Rule { .. } => None, // nothing that is written is lost for want of these
    };
    definition::lacks::<K>(document).unwrap_or_default().into_iter().filter_map(field).collect()
}

fn sentence(plural: &str, fields: &[String]) -> String {
    let named = fields.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = match fields.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!(
        "the installed CustomResourceDefinition {plural}.{GROUP} is older than the operator and drops {named}{rest}; install this version's: upgrade the chart private-connect-crds, or kubectl apply -f crds/"
    )
}

/// Takes the field at a path out of a value, in every item of a list.
fn remove(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Array(items), _) => items.iter_mut().for_each(|item| remove(item, path)),
        (Value::Object(fields), [last]) => drop(fields.remove(*last)),
        (Value::Object(fields), [first, rest @ ..]) => {
            fields.get_mut(*first).into_iter().for_each(|field| remove(field, rest));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an API server publishes of the definition that this crate was built with, without the fields at these pointers.
    fn published(without: &[&str]) -> Value {
        let manifest = connect_crds::manifest::<EnvironmentShare>().expect("a definition");
        let mut schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": GROUP, "version": connect_crds::VERSION, "kind": "EnvironmentShare" }]);
        for pointer in without {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut).expect("there");
            assert!(parent.remove(name).is_some(), "{pointer}");
        }
        json!({ "components": { "schemas": { "one": schema } } })
    }

    #[test]
    fn objects_say_it_until_it_is_mended() {
        let definitions = Definitions::default();
        assert_eq!(definitions.stalled::<EnvironmentShare>(), None);
        definitions.compare(&published(&["/properties/spec/properties/maxJoins"]));
        let verdict = definitions.stalled::<EnvironmentShare>().expect("outdated");
        assert_eq!((verdict.kind, verdict.reason), ("Stalled", "CRDOutdated"));
        assert!(verdict.message.contains("drops spec.maxJoins;"), "{}", verdict.message);
        assert_eq!(definitions.stalled::<ServiceExpose>(), None);
        definitions.compare(&published(&[]));
        assert_eq!(definitions.stalled::<EnvironmentShare>(), None);
    }

    #[test]
    fn only_what_is_known_is_written() {
        let definitions = Definitions::default();
        let recent = "/properties/status/properties/joins/properties/recent/items/properties/agent";
        definitions.compare(&published(&["/properties/status/properties/readyRoutes", recent]));
        let mut object = json!({ "status": {
            "readyRoutes": "1/1", "joins": { "count": 2, "recent": [{ "agent": "ada", "time": "t" }] },
        }});
        definitions.leave_out_unknown::<EnvironmentShare>(&mut object);
        assert_eq!(object, json!({ "status": { "joins": { "count": 2, "recent": [{ "time": "t" }] } } }));
        let mut other = json!({ "status": { "readyRoutes": "1/1" } });
        definitions.leave_out_unknown::<ServiceExpose>(&mut other);
        assert_eq!(other["status"]["readyRoutes"], "1/1");
    }
}
