//! What an agent may say, read straight from the frame's text: one pass, borrowed, the base64 neither decoded nor
//! copied.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

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
    #[serde(borrow, default)]
    pub data: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub payload: Option<Text<'a>>,
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

/// Where `part`, a borrowed piece of `whole`, is in it; `None` when it is not.
pub fn range_of(part: &str, whole: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let range = start..start.checked_add(part.len())?;
    (range.end <= whole.len()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_borrowed_from_the_frame() {
        let frame =
            r#"["reach_data",{"connectionId":"c-1","data":"cGluZw==","extra":[1,{"a":null}]},"more"]"#;
        let Incoming { name, body } = Incoming::parse(frame).expect("an event");
        assert_eq!(name, "reach_data");
        assert_eq!(body.connection_id.expect("is there").0, "c-1");
        let data = body.data.expect("is there").0;
        assert!(matches!(data, Cow::Borrowed(_)));
        assert_eq!(&frame[range_of(&data, frame).expect("within")], "cGluZw==");
        assert_eq!(range_of("elsewhere", &frame[10..]), None);
    }

    #[test]
    fn escapes_are_understood() {
        let Incoming { body, .. } =
            Incoming::parse(r#"["data",{"connectionId":"c","data":"a\/b="}]"#).expect("an event");
        assert_eq!(body.data.expect("is there").0, "a/b=");
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
