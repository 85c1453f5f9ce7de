//! Checks a body field by field and says everything that is wrong with it at once, in the recorded form: a 400 whose
//! message is a JSON array of issues. Clients take the inner messages out of it.

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::ApiError;

/// One thing that is wrong. The order of the fields is the recorded one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Issue {
    Uuid {
        validation: &'static str,
        code: &'static str,
        message: &'static str,
        path: Path,
    },
    Size {
        code: &'static str,
        #[serde(flatten)]
        limit: Limit,
        #[serde(rename = "type")]
        kind: &'static str,
        inclusive: bool,
        exact: bool,
        message: String,
        path: Path,
    },
    Integer {
        code: &'static str,
        expected: &'static str,
        received: &'static str,
        message: &'static str,
        path: Path,
    },
    Type {
        code: &'static str,
        expected: &'static str,
        received: &'static str,
        path: Path,
        message: String,
    },
    Choice {
        received: String,
        code: &'static str,
        options: &'static [&'static str],
        path: Path,
        message: String,
    },
    Custom {
        code: &'static str,
        message: String,
        path: Path,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Limit {
    Minimum(i64),
    Maximum(i64),
}

type Path = Vec<Step>;

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Step {
    Field(&'static str),
    Index(usize),
}

/// An object under examination.
#[derive(Debug)]
pub struct Fields<'a> {
    object: Option<&'a Map<String, Value>>,
    at: Path,
    issues: Vec<Issue>,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub fn of(body: &'a Value) -> Self {
        let mut fields = Self { object: body.as_object(), at: Path::new(), issues: Vec::new() };
        if fields.object.is_none() {
            fields.issues.push(wrong_type("object", Some(body), Path::new()));
        }
        fields
    }

    /// The end: an error that names every issue, if there is one.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.issues.is_empty() {
            return Ok(());
        }
        let message =
            serde_json::to_string_pretty(&self.issues).unwrap_or_else(|_| "Invalid request".to_owned());
        Err(ApiError::text(400, message))
    }

    pub fn uuid(&mut self, field: &'static str) -> Option<Uuid> {
        let text = self.string(field, 0, usize::MAX)?;
        let uuid = Uuid::parse_str(text).ok().filter(|_| text.len() == 36);
        if uuid.is_none() {
            let path = self.path(field);
            self.issues.push(Issue::Uuid {
                validation: "uuid",
                code: "invalid_string",
                message: "Invalid uuid",
                path,
            });
        }
        uuid
    }

    pub fn optional_uuid(&mut self, field: &'static str) -> Option<Uuid> {
        self.has(field).then(|| self.uuid(field)).flatten()
    }

    /// A text of `min` to `max` characters.
    pub fn string(&mut self, field: &'static str, min: usize, max: usize) -> Option<&'a str> {
        let Some(text) = self.get(field).and_then(Value::as_str) else {
            self.issues.push(wrong_type("string", self.get(field), self.path(field)));
            return None;
        };
        let length = text.chars().count(); // as Kubernetes counts, and our command line
        if length < min {
            let message = format!("String must contain at least {min} character(s)");
            self.size(field, Limit::Minimum(min as i64), "string", message);
        } else if length > max {
            let message = format!("String must contain at most {max} character(s)");
            self.size(field, Limit::Maximum(max as i64), "string", message);
        } else {
            return Some(text);
        }
        None
    }

    pub fn optional_string(&mut self, field: &'static str, max: usize) -> Option<&'a str> {
        self.has(field).then(|| self.string(field, 0, max)).flatten()
    }

    /// A whole number within `min..=max`.
    pub fn integer(&mut self, field: &'static str, min: i64, max: i64) -> Option<i64> {
        let number = self.number(field, min, max)?;
        if number.fract() != 0.0 {
            let path = self.path(field);
            let message = "Expected integer, received float";
            let (expected, received) = ("integer", "float");
            self.issues.push(Issue::Integer { code: "invalid_type", expected, received, message, path });
            return None;
        }
        Some(number as i64) // within min..=max, so it fits
    }

    pub fn optional_integer(&mut self, field: &'static str, min: i64, max: i64) -> Option<i64> {
        self.has(field).then(|| self.integer(field, min, max)).flatten()
    }

    pub fn port(&mut self, field: &'static str) -> Option<u16> {
        self.integer(field, 1, 65_535).and_then(|port| u16::try_from(port).ok())
    }

    /// A number within `min..=max`.
    pub fn number(&mut self, field: &'static str, min: i64, max: i64) -> Option<f64> {
        let Some(number) = self.get(field).and_then(Value::as_f64) else {
            self.issues.push(wrong_type("number", self.get(field), self.path(field)));
            return None;
        };
        if number < min as f64 {
            let message = format!("Number must be greater than or equal to {min}");
            self.size(field, Limit::Minimum(min), "number", message);
        } else if number > max as f64 {
            let message = format!("Number must be less than or equal to {max}");
            self.size(field, Limit::Maximum(max), "number", message);
        } else {
            return Some(number);
        }
        None
    }

    pub fn optional_number(&mut self, field: &'static str, min: i64, max: i64) -> Option<f64> {
        self.has(field).then(|| self.number(field, min, max)).flatten()
    }

    pub fn optional_bool(&mut self, field: &'static str) -> Option<bool> {
        let value = self.get(field)?;
        if !value.is_boolean() {
            self.issues.push(wrong_type("boolean", Some(value), self.path(field)));
        }
        value.as_bool()
    }

    /// One of `options`; the first when absent.
    pub fn choice(&mut self, field: &'static str, options: &'static [&'static str]) -> &'static str {
        let Some(value) = self.get(field) else { return options[0] };
        if let Some(chosen) = options.iter().find(|option| Some(**option) == value.as_str()) {
            return chosen;
        }
        let received = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let listed = options.iter().map(|option| format!("'{option}'")).collect::<Vec<_>>().join(" | ");
        let message = format!("Invalid enum value. Expected {listed}, received '{received}'");
        let path = self.path(field);
        self.issues.push(Issue::Choice { received, code: "invalid_enum_value", options, path, message });
        options[0]
    }

    /// The objects of an array of at most `max`, each read by `read`.
    pub fn optional_array<T>(
        &mut self,
        field: &'static str,
        max: usize,
        mut read: impl FnMut(&mut Fields<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.get(field)?;
        let Some(array) = value.as_array() else {
            self.issues.push(wrong_type("array", Some(value), self.path(field)));
            return None;
        };
        if array.len() > max {
            let message = format!("Array must contain at most {max} element(s)");
            self.size(field, Limit::Maximum(max as i64), "array", message);
            return None;
        }
        let mut read_all = Vec::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let mut fields = Fields::of(element);
            fields.at = self.path(field);
            fields.at.push(Step::Index(index));
            read_all.extend(read(&mut fields));
            self.issues.append(&mut fields.issues);
        }
        Some(read_all)
    }

    /// Says something that has no recorded form.
    pub fn refuse(&mut self, field: &'static str, message: impl Into<String>) {
        let path = self.path(field);
        self.issues.push(Issue::Custom { code: "custom", message: message.into(), path });
    }

    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.and_then(|object| object.get(field))
    }

    fn path(&self, field: &'static str) -> Path {
        self.at.iter().cloned().chain([Step::Field(field)]).collect()
    }

    fn size(&mut self, field: &'static str, limit: Limit, kind: &'static str, message: String) {
        let code = match limit {
            Limit::Minimum(_) => "too_small",
            Limit::Maximum(_) => "too_big",
        };
        let path = self.path(field);
        self.issues.push(Issue::Size { code, limit, kind, inclusive: true, exact: false, message, path });
    }
}

fn wrong_type(expected: &'static str, value: Option<&Value>, path: Path) -> Issue {
    let received = match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    let message = match value {
        None => "Required".to_owned(),
        Some(_) => format!("Expected {expected}, received {received}"),
    };
    Issue::Type { code: "invalid_type", expected, received, path, message }
}
