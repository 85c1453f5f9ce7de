//! By what an object's share is known at a hub: who made it, and for which object.
//!
//! A hub that takes idempotency keys is told both in the key of the creation, `MAKER.UID`, and its list tells the key again. A
//! vendor's hub has nothing of the kind, so there a share carries both at the end of its name: ` #MAKER-MARK`.
//! Earlier versions wrote ` #MARK` with half as many digits and no maker; such rows are still read.

use std::fmt;

use sha2::{Digest, Sha256};

/// Hexadecimal digits of a marker or a maker, 64 bits: among a million shares two are alike once in 40 million hubs.
const DIGITS: usize = 16;

/// Hexadecimal digits of the markers that earlier versions wrote. 32 bits: among ten thousand shares two are alike at one hub in a
/// hundred, so such a marker alone does not say whose a share is.
const OLD_DIGITS: usize = 8;

/// Which operator has made something at a hub: the hash of what only it has.
///
/// It is derived from the agent's id and from something that a copy of the agent's Secret in another cluster does not share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Maker(String);

/// For which object something was made: sixteen hexadecimal digits of the SHA-256 of its UID, or the first eight of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareMarker(String);

/// What a hub's row says of its origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature {
    /// Who made it; earlier versions did not say.
    pub maker: Option<Maker>,
    /// For which object.
    pub marker: ShareMarker,
}

// === impl Maker ===

impl Maker {
    /// The operator with this agent id that lives where `origin` says.
    #[must_use]
    pub fn of(origin: &str, agent: &str) -> Self {
        Self(digits(&[origin.as_bytes(), &[0], agent.as_bytes()]))
    }
}

// === impl ShareMarker ===

impl ShareMarker {
    /// The marker of the object with this UID.
    #[must_use]
    pub fn of(uid: &str) -> Self {
        Self(digits(&[uid.as_bytes()]))
    }

    /// The same marker as earlier versions wrote it.
    #[must_use]
    pub fn in_old_form(&self) -> Self {
        Self(self.0.chars().take(OLD_DIGITS).collect())
    }

    /// Whether the marker is too short to say for certain which object is meant.
    #[must_use]
    pub fn is_old(&self) -> bool {
        self.0.len() == OLD_DIGITS
    }

    /// Whether this is the marker of `whole`, in full or in its old form.
    #[must_use]
    pub fn may_be(&self, whole: &Self) -> bool {
        self == whole || (self.is_old() && whole.0.starts_with(&self.0))
    }

    /// What people call a hub's share, without the signature behind it. Also what people are to be shown.
    #[must_use]
    pub fn shown(name: &str) -> &str {
        Signature::split(name).0
    }
}

// === impl Signature ===

impl Signature {
    /// What people call a hub's share, and the signature behind it.
    #[must_use]
    pub fn split(name: &str) -> (&str, Option<Self>) {
        let signed = name.rsplit_once('#').and_then(|(friendly, text)| Some((friendly, Self::read(text)?)));
        match signed {
            Some((friendly, signature)) => (friendly.trim_end(), Some(signature)),
            None => (name, None),
        }
    }

    /// What a hub's row says of its origin: by the key that it was made with where the hub tells it, else by its name.
    #[must_use]
    pub fn of_row(key: Option<&str>, name: Option<&str>) -> Option<Self> {
        key.and_then(Self::in_key).or_else(|| name.and_then(Self::in_name))
    }

    /// The signature at the end of a hub share's name.
    #[must_use]
    pub fn in_name(name: &str) -> Option<Self> {
        Self::split(name).1
    }

    /// The signature in an idempotency key: `MAKER.UID` or, of earlier versions, `UID`; what follows says which of the object's
    /// codes is meant.
    #[must_use]
    pub fn in_key(key: &str) -> Option<Self> {
        let mut parts = key.split('.');
        let first = parts.next().filter(|first| !first.is_empty())?;
        if !is_hex(first, DIGITS) {
            return Some(Self { maker: None, marker: ShareMarker::of(first) });
        }
        let uid = parts.next().filter(|uid| !uid.is_empty())?;
        Some(Self { maker: Some(Maker(first.to_owned())), marker: ShareMarker::of(uid) })
    }

    fn read(text: &str) -> Option<Self> {
        if let Some((maker, marker)) = text.split_once('-') {
            let is_signature = is_hex(maker, DIGITS) && is_hex(marker, DIGITS);
            return is_signature.then(|| Self {
                maker: Some(Maker(maker.to_owned())),
                marker: ShareMarker(marker.to_owned()),
            });
        }
        is_hex(text, OLD_DIGITS).then(|| Self { maker: None, marker: ShareMarker(text.to_owned()) })
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ShareMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As it stands in names: behind a `#`.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.maker {
            Some(maker) => write!(f, "#{maker}-{}", self.marker),
            None => write!(f, "#{}", self.marker),
        }
    }
}

/// [`DIGITS`] hexadecimal digits of a hash.
fn digits(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn is_hex(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == length && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "4f3c9d7e-0000-4000-8000-000000000000";

    fn signature() -> Signature {
        Signature { maker: Some(Maker::of("cluster", "agent")), marker: ShareMarker::of(UID) }
    }

    #[test]
    fn a_signature_is_told_from_a_name() {
        let signed = signature();
        let old = Signature { maker: None, marker: ShareMarker::of(UID).in_old_form() };
        assert_eq!(signed.to_string().len(), 34);
        for signature in [signed, old] {
            for name in ["demo", "", "#deadbeef", "issue #12", "a # b"] {
                let written = format!("{name} {signature}");
                assert_eq!(Signature::split(&written), (name, Some(signature.clone())), "{written}");
                assert_eq!(ShareMarker::shown(&written), name);
            }
        }
        let whole = "0123456789abcdef";
        for name in [
            "demo",
            "demo #12",
            "demo #zzzzzzzz",
            "demo #C07E1BC7",
            "demo #deadbee",
            "demo #deadbeef0",
            &format!("demo #{whole}"),
            &format!("demo #{whole}-"),
            &format!("demo #-{whole}"),
            &format!("demo #{whole}-{whole}0"),
            "",
        ] {
            assert_eq!(Signature::split(name), (name, None));
        }
    }

    #[test]
    fn two_objects_whose_old_marks_are_alike_have_other_new_ones() {
        let one = ShareMarker::of("86c80fff-c0fc-4eca-8984-0d9814de59e3");
        let other = ShareMarker::of("084b7c53-a03e-4b5a-a8e5-9d0a789c881e");
        assert_eq!(one.in_old_form(), other.in_old_form(), "this is what went wrong");
        assert_ne!(one, other);
        assert!(one.in_old_form().is_old() && !one.is_old());
        assert!(one.may_be(&one) && !other.may_be(&one));
        assert!(one.in_old_form().may_be(&one) && one.in_old_form().may_be(&other));
    }

    #[test]
    fn keys_say_who_made_a_share_and_old_ones_for_which_object() {
        let maker = Maker::of("cluster", "agent");
        assert_eq!(Signature::in_key(&format!("{maker}.{UID}")), Some(signature()));
        assert_eq!(Signature::in_key(&format!("{maker}.{UID}.0123456789abcdef")), Some(signature()));
        let old = Some(Signature { maker: None, marker: ShareMarker::of(UID) });
        assert_eq!(Signature::in_key(UID), old);
        assert_eq!(Signature::in_key(&format!("{UID}.01234567")), old);
        for nothing in ["", ".", &format!("{maker}"), &format!("{maker}.")] {
            assert_eq!(Signature::in_key(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn neither_a_copied_agent_nor_an_equal_cluster_has_the_same_maker() {
        let makers: std::collections::BTreeSet<Maker> = [
            Maker::of("cluster", "agent"),
            Maker::of("copy", "agent"),
            Maker::of("cluster", "other"),
            Maker::of("clusteragent", ""),
        ]
        .into();
        assert_eq!(makers.len(), 4);
    }
}
