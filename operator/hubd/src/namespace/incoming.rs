//! What an agent may say, read straight from the frame's text: one pass, borrowed, the base64 not decoded.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// A text of the frame; owned only when it holds JSON escapes.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// An event's name and its first argument.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub name: Cow<'a, str>,
    pub body: Body<'a>,
}

/// Every field that any event of ours reads; others are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Body<'a> {
    #[serde(borrow, default)]
    pub connection_id: Option<Text<'a>>,
    /// JSON, kept as it is.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    /// JSON, kept as it is.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub service_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub error: Option<Text<'a>>,
}

// === impl Incoming ===

impl<'a> Incoming<'a> {
    /// Reads `["name",{..}]`.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl<'de> Deserialize<'de> for Incoming<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Incoming<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of an event's name and its argument")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let name =
            array.next_element::<Text<'de>>()?.ok_or_else(|| serde::de::Error::invalid_length(0, &self))?.0;
        let body = array.next_element::<Option<Body<'de>>>()?.flatten().unwrap_or_default();
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Incoming { name, body })
    }
}

/// A JSON text as it may be said again, without another look at each of its bytes; `None` when it is no text.
pub fn text_to_pass_on(value: &RawValue) -> Option<Box<RawValue>> {
    let json = value.get();
    if !json.starts_with('"') {
        return None;
    }
    if json.contains('\\') {
        // Base64 has no escapes. What has some is understood and said anew: not every escape means a character.
        return serde_json::value::to_raw_value(&serde_json::from_str::<String>(json).ok()?).ok();
    }
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_is_borrowed_from_the_frame() {
        let frame =
            r#"["reach_data",{"connectionId":"c-1","data":"cGluZw==","extra":[1,{"a":null}]},"more"]"#;
        let Incoming { name, body } = Incoming::parse(frame).expect("an event");
        assert_eq!(name, "reach_data");
        assert_eq!(body.connection_id.expect("is there").0, "c-1");
        let data = body.data.expect("is there");
        assert_eq!(text_to_pass_on(data).expect("a text").get(), "\"cGluZw==\"");
    }

    #[test]
    fn a_text_is_passed_on_so_that_everybody_can_read_it() {
        let passed_on = |json: &str| {
            let frame = format!(r#"["data",{{"connectionId":"c","data":{json}}}]"#);
            let Incoming { body, .. } = Incoming::parse(&frame).expect("an event");
            text_to_pass_on(body.data?).map(|text| text.get().to_owned())
        };
        for (json, expected) in [
            (r#""YQ==""#, Some(r#""YQ==""#)),
            (r#""""#, Some(r#""""#)),
            (r#""a\/b=""#, Some(r#""a/b=""#)),
            (r#""{\"type\":\"init\"}""#, Some(r#""{\"type\":\"init\"}""#)),
            (r#""\ud800""#, None),
            ("7", None),
            ("[]", None),
            ("null", None),
        ] {
            assert_eq!(passed_on(json).as_deref(), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_says_what_was_written(
            name in ".{0,12}",
            id in proptest::option::of(".{0,40}"),
            data in proptest::option::of(".{0,200}"),
            noise in ".{0,60}",
        ) {
            let _ = Incoming::parse(&noise); // whatever it is, it ends in an answer
            let frame = serde_json::json!([name, {"connectionId": id, "data": data, "more": noise}]).to_string();
            let read = Incoming::parse(&frame).expect("an event");
            prop_assert_eq!(read.name, name);
            prop_assert_eq!(read.body.connection_id.map(|id| id.0.into_owned()), id);
            let passed_on = read.body.data.and_then(text_to_pass_on);
            let said = passed_on.map(|json| serde_json::from_str::<String>(json.get()).expect("a text"));
            prop_assert_eq!(said, data);
        }
    }

    #[test]
    fn an_event_may_have_no_argument_and_must_have_a_name() {
        for frame in [r#"["heartbeat"]"#, r#"["heartbeat",null]"#] {
            assert_eq!(Incoming::parse(frame).expect("an event").name, "heartbeat");
        }
        for frame in
            ["[]", "[1]", r#"["data",{"connectionId":1}]"#, r#"["data","text"]"#, "{}", r#"["data",{}"#]
        {
            assert!(Incoming::parse(frame).is_err(), "{frame}");
        }
    }
}
