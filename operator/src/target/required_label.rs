//! A label that the platform team asks Services for before they are shared.
//!
//! It is judged here, and not by the API server's policies, because those see the object that is written and no other: they
//! cannot look at the Service that a ServiceExpose names, and a label that is taken off later would be nobody's business.

use std::str::FromStr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// A label, and the namespace whose Services must have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredLabel {
    /// The namespace; `None` for all.
    namespace: Option<String>,
    key: String,
    /// The value; `None` for any.
    value: Option<String>,
}

// === impl RequiredLabel ===

impl RequiredLabel {
    /// Whether the Service has it, or need not.
    pub fn allows(&self, service: &Service) -> bool {
        let applies = self.namespace.is_none() || self.namespace == service.namespace();
        !applies
            || service
                .labels()
                .get(&self.key)
                .is_some_and(|has| self.value.as_ref().is_none_or(|value| value == has))
    }

    /// The label as people write it.
    pub fn label(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}", self.key),
            None => self.key.clone(),
        }
    }
}

impl FromStr for RequiredLabel {
    type Err = String;

    /// Reads `KEY`, `KEY=VALUE`, `NAMESPACE:KEY` and `NAMESPACE:KEY=VALUE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, label) = match text.split_once(':') {
            Some((namespace, label)) => (Some(namespace.to_owned()), label),
            None => (None, text),
        };
        let (key, value) = match label.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (label, None),
        };
        if key.is_empty() || namespace.as_deref() == Some("") {
            return Err("write KEY, KEY=VALUE, or NAMESPACE:KEY=VALUE".to_owned());
        }
        Ok(Self { namespace, key: key.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_asked_for_everywhere_or_in_one_namespace_with_any_value_or_one() {
        let service = |namespace: &str, labels: &str| -> Service {
            serde_saphyr::from_str(&format!(
                "metadata: {{name: s, namespace: {namespace}, labels: {labels}}}"
            ))
            .expect("fixture")
        };
        let rows = [
            ("share", "shop", "{}", false),
            ("share", "shop", "{share: any}", true),
            ("share=yes", "shop", "{share: any}", false),
            ("share=yes", "shop", "{share: 'yes'}", true),
            ("shop:share=yes", "shop", "{}", false),
            ("shop:share=yes", "other", "{}", true),
        ];
        for (rule, namespace, labels, allowed) in rows {
            let rule: RequiredLabel = rule.parse().expect(rule);
            assert_eq!(rule.allows(&service(namespace, labels)), allowed, "{rule:?} {labels}");
        }
        for wrong in ["", "=yes", ":share", "shop:", "shop:=yes"] {
            assert!(wrong.parse::<RequiredLabel>().is_err(), "{wrong}");
        }
    }
}
