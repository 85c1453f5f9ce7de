//! Which ServiceExposes a share takes, by their labels; what core Kubernetes would refuse is refused at admission.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A label selector: all of its requirements must hold.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(key, key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))").message("matchLabels has a key that is not a label key: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, after an optional DNS prefix and '/'"))]
#[x_kube(validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(key, self.matchLabels[key].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))").message("matchLabels has a value that is not a label value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"))]
#[x_kube(validation = Rule::new("!has(self.matchExpressions) || !self.matchExpressions.exists(e, e.operator == 'DoesNotExist' && ((has(self.matchLabels) && e.key in self.matchLabels) || self.matchExpressions.exists(f, f.key == e.key && f.operator in ['In', 'Exists'])))").message("this selector can never match: it asks for a label both to be there and not to be there"))]
#[x_kube(validation = Rule::new("!has(self.matchExpressions) || !has(self.matchLabels) || self.matchExpressions.all(e, !(e.key in self.matchLabels) || (e.operator == 'In' ? (has(e.values) && self.matchLabels[e.key] in e.values) : (e.operator != 'NotIn' || !has(e.values) || !(self.matchLabels[e.key] in e.values))))").message("this selector can never match: matchExpressions excludes the value that matchLabels asks for"))]
#[x_kube(validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator != 'In' || !has(e.values) || size(e.values) == 0 || self.matchExpressions.all(f, f.key != e.key || !has(f.values) || (f.operator == 'NotIn' ? !e.values.all(v, v in f.values) : e.values.exists(v, v in f.values))))").message("this selector can never match: matchExpressions leaves no value for a label"))]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels that must be present with exactly these values; at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements with the operators In, NotIn, Exists and DoesNotExist; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// What is asked of one label.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : true").message("values must have at least one value with the operators In and NotIn"))]
#[x_kube(validation = Rule::new("self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 : true").message("values must be left out with the operators Exists and DoesNotExist"))]
#[x_kube(validation = Rule::new("self.key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')").message("key is not a label key: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, after an optional DNS prefix and '/'"))]
#[x_kube(validation = Rule::new("!has(self.values) || self.values.all(value, value.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))").message("values has one that is not a label value: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"))]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(max = 317))]
    pub key: String,
    /// In: the label has one of the values. NotIn: it has none of them, or is not there. Exists: it is there. DoesNotExist: it
    /// is not there.
    // A text and no enumeration: an object of before this rule must not keep the others from being read.
    #[schemars(extend("enum" = ["In", "NotIn", "Exists", "DoesNotExist"]))]
    pub operator: String,
    /// The values, at most 16, for In and NotIn; none for Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

// === impl Selector ===

impl Selector {
    /// Whether these labels fulfil every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

// === impl Requirement ===

impl Requirement {
    /// Whether these labels fulfil it. An unknown operator is fulfilled by none.
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator.as_str() {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
