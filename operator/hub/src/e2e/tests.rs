//! Vectors of the key agreement (`operator/hub/PROTOCOL.md`, part 5), and what an attacker in the middle may try.

use proptest::prelude::*;

use super::*;

pub(super) const CONNECTION_ID: &str = "11111111-2222-4333-8444-555555555555";
pub(super) const JOINER_PRIVATE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f92ebc099b0e6ea2a7d3e2a2a2a";
pub(super) const EXPOSER_PRIVATE: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
pub(super) const JOINER_PUBLIC: &str = "MCowBQYDK2VuAyEAq5AvAmz/+ozly9BDuBxvZsygzR3gb2E+AmcduMDSI3o=";
pub(super) const EXPOSER_PUBLIC: &str = "MCowBQYDK2VuAyEA3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
const SHARED: &str = "7c88984457115590bd59310e643ee5880c5a4216be3d2e59ffaf4e4c6f1ce00e";
const KEY_TO_EXPOSER: &str = "1353cf5502f9dabb4e3ce73803df7980be0f57d1683ba3a071b3316407cde602";
const KEY_TO_JOINER: &str = "fad22601868aad40cb7eb0f164893871a1dad24903d2d8dccb3ad2efc55c45d8";
const TO_EXPOSER: [(&[u8], &str); 2] = [
    (b"hello", "AAAAAAAAAAAAAAAAdX7TGYON30cHC1w1V0HrXjVnga1I"),
    (b"world", "AAAAAAAAAAAAAAABl6MS3m3YCRzGldXOtXF4oyn9cxCC"),
];
const TO_JOINER: [(&[u8], &str); 1] = [(b"HELLO", "AAAAAAAAAAAAAAAAAwvo2X8mtdWr389vdS/l5dpwIIbn")];

pub(super) fn hex(text: &str) -> [u8; KEY_BYTES] {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<Vec<_>, _>>().expect("hex").try_into().expect("32 bytes")
}

fn offer(private: &str) -> Offer {
    Offer(StaticSecret::from(hex(private)))
}

/// Both ends as the vectors have them.
fn ends() -> [(Sealer, Opener); 2] {
    let joiner = offer(JOINER_PRIVATE).agree(EXPOSER_PUBLIC, CONNECTION_ID, Side::Joiner);
    let exposer = offer(EXPOSER_PRIVATE).agree(JOINER_PUBLIC, CONNECTION_ID, Side::Exposer);
    [joiner.expect("good keys"), exposer.expect("good keys")]
}

pub(super) fn sealed(sealer: &mut Sealer, text: &[u8]) -> Vec<u8> {
    let mut packet = [&[0; NONCE_LEN], text, &[0; TAG_BYTES]].concat();
    sealer.seal(&mut packet);
    packet
}

#[test]
fn private_keys_lead_to_the_public_keys_the_shared_secret_and_both_keys() {
    assert_eq!(offer(JOINER_PRIVATE).public_key(), JOINER_PUBLIC);
    assert_eq!(offer(EXPOSER_PRIVATE).public_key(), EXPOSER_PUBLIC);
    for (private, public) in [(JOINER_PRIVATE, EXPOSER_PUBLIC), (EXPOSER_PRIVATE, JOINER_PUBLIC)] {
        let shared = offer(private).0.diffie_hellman(&public_key(public).expect("a key"));
        assert_eq!(*shared.as_bytes(), hex(SHARED));
        let keys = keys(shared.as_bytes(), CONNECTION_ID);
        assert_eq!(keys[..KEY_BYTES], hex(KEY_TO_EXPOSER));
        assert_eq!(keys[KEY_BYTES..], hex(KEY_TO_JOINER));
    }
}

#[test]
fn packets_are_those_of_the_contract_in_both_directions() {
    let [(mut joiner_seals, mut joiner_opens), (mut exposer_seals, mut exposer_opens)] = ends();
    let check = |sealer: &mut Sealer, opener: &mut Opener, text: &[u8], packet: &str| {
        let mut sealed = sealed(sealer, text);
        assert_eq!(STANDARD.encode(&sealed), packet);
        assert_eq!(opener.open(&mut sealed), Ok(text.to_vec().as_mut_slice()));
    };
    for (text, packet) in TO_EXPOSER {
        check(&mut joiner_seals, &mut exposer_opens, text, packet);
    }
    for (text, packet) in TO_JOINER {
        check(&mut exposer_seals, &mut joiner_opens, text, packet);
    }
}

#[test]
fn a_packet_opens_once_in_its_turn_and_in_its_direction() {
    let [(mut seals, mut own_direction), (_, mut opens)] = ends();
    let [first, second] = [sealed(&mut seals, b"first"), sealed(&mut seals, b"second")];
    assert_eq!(opens.open(&mut second.clone()), Err(E2eError::OutOfOrder), "skipped");
    assert!(opens.open(&mut first.clone()).is_ok());
    assert_eq!(opens.open(&mut first.clone()), Err(E2eError::OutOfOrder), "repeated");
    assert!(opens.open(&mut second.clone()).is_ok());
    assert_eq!(own_direction.open(&mut first.clone()), Err(E2eError::Tampered), "sent back to its sender");
}

#[test]
fn another_connection_has_other_keys() {
    let [(mut seals, _), _] = ends();
    let (_, mut elsewhere) =
        offer(EXPOSER_PRIVATE).agree(JOINER_PUBLIC, "another", Side::Exposer).expect("good keys");
    assert_eq!(elsewhere.open(&mut sealed(&mut seals, b"moved")), Err(E2eError::Tampered));
}

#[test]
fn fresh_offers_differ_and_agree() {
    let (one, other) = (Offer::generate(), Offer::generate());
    let (one_public, other_public) = (one.public_key(), other.public_key());
    assert_ne!(one_public, other_public);
    let (mut seals, _) = one.agree(&other_public, "id", Side::Joiner).expect("good keys");
    let (_, mut opens) = other.agree(&one_public, "id", Side::Exposer).expect("good keys");
    assert_eq!(opens.open(&mut sealed(&mut seals, b"")), Ok([].as_mut_slice()), "nothing to say is fine");
}

#[test]
fn public_keys_that_are_none_are_refused() {
    let zero = STANDARD.encode([SPKI_HEAD.as_slice(), &[0; KEY_BYTES]].concat());
    let other_kind = JOINER_PUBLIC.replace("MCowBQYDK2Vu", "MCowBQYDK2Vw"); // Ed25519
    let cut = &JOINER_PUBLIC[..JOINER_PUBLIC.len() - 4];
    for text in [zero.as_str(), &other_kind, cut, "", &"A".repeat(PUBLIC_KEY_CHARS)] {
        let agreed = Offer::generate().agree(text, CONNECTION_ID, Side::Joiner);
        assert_eq!(agreed.err(), Some(E2eError::PublicKey), "{text}");
    }
}

#[test]
fn a_handshake_is_read_and_written_as_the_contract_has_it() {
    let init = Handshake::Init { pubkey: JOINER_PUBLIC.to_owned(), proof: None };
    assert_eq!(init.to_payload(), format!(r#"{{"type":"init","pubkey":"{JOINER_PUBLIC}"}}"#));
    assert_eq!(Handshake::read(&init.to_payload()), Ok(init));
    let accept = format!(r#"{{"pubkey":"{EXPOSER_PUBLIC}","type":"accept","later":1}}"#);
    assert_eq!(
        Handshake::read(&accept),
        Ok(Handshake::Accept { pubkey: EXPOSER_PUBLIC.to_owned(), ends_at: None, proof: None })
    );
    for bad in ["", "{}", "null", r#"{"type":"init"}"#, r#"{"type":"end","pubkey":""}"#] {
        assert_eq!(Handshake::read(bad), Err(E2eError::Handshake), "{bad}");
    }
}

#[test]
fn nothing_of_a_key_is_printed() {
    let [(sealer, opener), _] = ends();
    let printed = format!("{:?} {sealer:?} {opener:?}", offer(JOINER_PRIVATE));
    assert_eq!(printed, "Offer Sealer Opener");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_by_an_opener(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let [(_, mut opens), _] = ends();
        prop_assert!(opens.open(&mut bytes).is_err());
    }

    #[test]
    fn bytes_behind_the_right_nonce_are_refused_too(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let [(_, mut opens), _] = ends();
        bytes.splice(0..0, [0; NONCE_LEN]);
        prop_assert_eq!(opens.open(&mut bytes), Err(E2eError::Tampered));
    }

    #[test]
    fn a_packet_with_one_bit_changed_or_a_part_missing_is_refused(
        text in proptest::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()
    ) {
        let [(mut seals, _), (_, mut opens)] = ends();
        let good = sealed(&mut seals, &text);
        let mut bad = good.clone();
        let at = at.index(bad.len());
        if cut { bad.truncate(at) } else { bad[at] ^= 1 << bit }
        prop_assert!(opens.open(&mut bad).is_err());
        prop_assert!(opens.open(&mut good.clone()).is_ok_and(|opened| *opened == text[..]));
    }

    #[test]
    fn only_the_next_packet_opens(order in Just((0..6usize).collect::<Vec<_>>()).prop_shuffle()) {
        let [(mut seals, _), (_, mut opens)] = ends();
        let packets: Vec<_> = (0..6u8).map(|number| sealed(&mut seals, &[number])).collect();
        let mut next = 0;
        for at in order {
            let opened = opens.open(&mut packets[at].clone()).is_ok();
            prop_assert_eq!(opened, at == next);
            next += usize::from(opened);
        }
    }

    #[test]
    fn any_text_is_read_as_a_handshake_or_refused(text in "\\PC*") {
        if let Ok(Handshake::Init { pubkey, .. } | Handshake::Accept { pubkey, .. }) = Handshake::read(&text) {
            prop_assert!(Offer::generate().agree(&pubkey, CONNECTION_ID, Side::Exposer).is_err());
        }
    }

    #[test]
    fn any_key_in_a_handshake_is_usable_or_refused(pubkey in "\\PC{0,80}|[A-Za-z0-9+/]{59}=") {
        let handshake = Handshake::Init { pubkey, proof: None };
        let read = Handshake::read(&handshake.to_payload());
        prop_assert_eq!(read.as_ref(), Ok(&handshake));
        let Handshake::Init { pubkey, .. } = handshake else { unreachable!("made above") };
        prop_assert!(Offer::generate().agree(&pubkey, CONNECTION_ID, Side::Exposer).is_err());
    }
}
