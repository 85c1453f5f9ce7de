//! Ports: a suggested local port, and a reference to a Service's port by number or name.

use std::borrow::Cow;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A TCP port on the teammate's machine, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalPort(NonZeroU16);

impl LocalPort {
    /// The port as a number; `None` for 0.
    pub fn new(port: u16) -> Option<Self> {
        NonZeroU16::new(port).map(Self)
    }

    /// The port as a number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl JsonSchema for LocalPort {
    fn schema_name() -> Cow<'static, str> {
        "LocalPort".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // `u16` would be written as `format: uint16`, which Kubernetes does not know.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 })
    }
}

/// A port of a Service, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortRef(pub IntOrString);

impl PortRef {
    /// A port by its number.
    pub fn number(port: u16) -> Self {
        Self(IntOrString::Int(i32::from(port)))
    }

    /// A port by its name.
    pub fn name(name: impl Into<String>) -> Self {
        Self(IntOrString::String(name.into()))
    }

    /// Reads what a person types: digits are a number, anything else a name.
    pub fn parse(text: &str) -> Self {
        match text.parse::<u16>() {
            Ok(number) => Self::number(number),
            Err(_) => Self::name(text),
        }
    }

    /// Whether this reference means the Service port with this number and name.
    pub fn matches(&self, number: i32, name: Option<&str>) -> bool {
        match &self.0 {
            IntOrString::Int(wanted) => *wanted == number,
            IntOrString::String(wanted) => name == Some(wanted.as_str()),
        }
    }
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            IntOrString::Int(number) => write!(f, "{number}"),
            IntOrString::String(name) => f.write_str(name),
        }
    }
}

impl JsonSchema for PortRef {
    fn schema_name() -> Cow<'static, str> {
        "PortRef".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "type(self) == int ? self >= 1 && self <= 65535 : self.matches('^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$') && self.matches('[a-z]')",
                "message": "port must be a number from 1 to 65535, without quotes, or the name of one of the Service's ports"
            }]
        })
    }
}
