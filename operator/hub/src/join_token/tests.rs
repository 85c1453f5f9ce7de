use proptest::prelude::*;

use super::*;

fn hub(text: &str) -> HubUrl {
    HubUrl::parse(text, InsecureHttp::Allowed).expect("a URL")
}

/// Code and hub, both as text; the hub is empty when none is named.
fn read(text: &str) -> Result<(String, String), InvalidToken> {
    let token = JoinToken::parse(text)?;
    Ok((token.code.expose_secret().to_owned(), token.hub.map(|hub| hub.to_string()).unwrap_or_default()))
}

/// One text for each line; what is written as an escape is one.
fn corpus(text: &str) -> impl Iterator<Item = String> + '_ {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.map(|line| serde_json::from_str(&format!("\"{line}\"")).expect("escapes as JSON has them"))
}

#[test]
fn a_pasted_code_is_the_code() {
    for text in corpus(include_str!("corpus/codes.txt")) {
        assert_eq!(read(&text), Ok(("k7mwx2pq9d".into(), String::new())), "{text:?}");
    }
}

#[test]
fn a_pasted_link_or_command_has_code_and_hub() {
    for text in corpus(include_str!("corpus/links.txt")) {
        assert_eq!(read(&text), Ok(("k7mwx2pq9d".into(), "https://hub.example.com".into())), "{text:?}");
    }
}

#[test]
fn other_hubs_are_read_as_they_are_written() {
    for (text, address) in [
        ("https://hub.example.com:8443/pre/fix/#abc123", "https://hub.example.com:8443/pre/fix"),
        ("https://hub.example.com/pre/open#abc123", "https://hub.example.com/pre"),
        ("https://hub.example.com/pre/join/abc123", "https://hub.example.com/pre"),
        ("https://hub.example.com/join/#abc123", "https://hub.example.com/join"),
        ("http://127.0.0.1:3001/#abc123", "http://127.0.0.1:3001"),
        ("http://[::1]:3001/#abc123", "http://[::1]:3001"),
        ("[::1]:3001/#abc123", "http://[::1]:3001"),
        ("localhost:3001/#abc123", "http://localhost:3001"),
        ("http://10.0.0.7:3001/#abc123", "http://10.0.0.7:3001"),
        ("https://hub.privateconnect.co/#abc123", HubUrl::DEFAULT),
        // Only what has no code of its own is a wrapping.
        (
            "https://hub.example.com/?back=https%3A%2F%2Fother.example%2F%23x#abc123",
            "https://hub.example.com",
        ),
    ] {
        assert_eq!(read(text), Ok(("abc123".into(), address.into())), "{text}");
    }
    let line =
        JoinToken::parse("kubectl connect join abc123 --hub http://hub.team.svc:3001 --through-cluster");
    assert!(line.is_ok_and(|token| token.through_cluster && !token.allows_insecure));
    let line =
        JoinToken::parse("$ kubectl connect join 'http://hub:3001/#abc123' --allow-insecure-hub --only a");
    assert!(line.is_ok_and(|token| token.allows_insecure && !token.through_cluster));
}

/// A full code, and what it is when it has come through a chat.
const FULL: &str = "k7mwx2pq9d+abcd-efgh-jkmn-pqrs";

#[test]
fn a_full_code_is_cut_at_the_first_plus_whatever_people_put_into_it() {
    assert_eq!(full_code("k7mwx2pq9d", Some(&"abcdefghjkmnpqrs".into())).expose_secret(), FULL);
    assert_eq!(full_code("k7mwx2pq9d", None).expose_secret(), "k7mwx2pq9d");
    let link = "https://hub.example.com/#";
    for text in [
        FULL.to_owned(),
        FULL.to_uppercase(),
        format!("  '{FULL}'."),
        format!("Share Code: {FULL}"),
        "k7mw-x2pq-9d + abcdefghjkmnpqrs".to_owned(),
        "k7mw x2pq 9d+abcd efgh\njkmn pqrs".to_owned(),
        "k7mwx2pq9d\u{2013}+\u{200b}abcd\u{2014}efgh-jkmn-pqrs".to_owned(),
        format!("{link}{FULL}"),
        format!("({link}{FULL}),"),
        format!("{link}k7mwx2pq9d%2Babcd-efgh-jkmn-pqrs"),
        format!("{link}{FULL}").replace("efgh-", "efgh-\n"),
        format!("https://hub.example.com/join?code={FULL}"),
        format!("kubectl connect join {FULL}"),
        format!("kubectl connect join '{link}{FULL}' --only api"),
        format!("kubectl connect join '{link}{FULL}'").replace("jkmn-", "jkmn-\n  "),
        format!("kubectl connect join {FULL} --hub https://hub.example.com -- make test"),
    ] {
        let token = JoinToken::parse(&text).expect(&text);
        assert_eq!(token.code.expose_secret(), "k7mwx2pq9d", "{text}");
        assert_eq!(token.secret.as_ref().expect(&text).expose_secret(), "abcdefghjkmnpqrs", "{text}");
        assert_eq!(token.code_key(), Some(CodeKey::new("k7mwx2pq9d", &"abcdefghjkmnpqrs".into())));
        assert!(is_code(&text, "k7mwx2pq9d"));
        assert!(!format!("{token:?}").contains("abcdefgh"));
    }
    assert_eq!(JoinToken::parse("k7mwx2pq9d").expect("a code").code_key(), None);
}

#[test]
fn half_a_code_is_told_from_a_code_before_a_hub_hears_of_it() {
    for (text, error) in [
        ("k7mwx2pq9d+", InvalidToken::Secret),
        ("k7mwx2pq9d+abcd-efgh-jkmn", InvalidToken::Secret),
        ("k7mwx2pq9d+abcd-efgh-jkmn-pqrs-tuvw", InvalidToken::Secret),
        ("k7mwx2pq9d+abcd-efgh-jkmn-pqr0", InvalidToken::Secret),
        ("k7mwx2pq9d+abcd+efgh-jkmn-pqrs", InvalidToken::Secret),
        ("https://hub.example.com/#k7mwx2pq9d+abcd", InvalidToken::Secret),
        ("+abcd-efgh-jkmn-pqrs", InvalidToken::Empty),
        ("abcd-efgh-jkmn-pqrs", InvalidToken::NoHandle),
        ("https://hub.example.com/#abcdefghjkmnpqrs", InvalidToken::NoHandle),
    ] {
        let said = JoinToken::parse(text).expect_err(text);
        assert_eq!(said, error, "{text}");
        assert!(!said.to_string().contains("abcd"));
    }
}

/// What every version before full codes did with a text before it asked a hub: blanks, dashes and marks away, and then letters and
/// digits only.
#[test]
fn earlier_versions_refuse_a_full_code_before_they_ask_a_hub() {
    for text in [FULL.to_owned(), format!("https://hub.example.com/#{FULL}")] {
        let last = text.rsplit(['#', '/', '=']).next().expect("a part");
        let code: String = last.chars().filter(|&letter| !visible::is_noise(letter)).collect();
        assert!(!code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
    }
}

#[test]
fn what_has_no_code_is_one_sentence() {
    for (text, error) in [
        ("", InvalidToken::Empty),
        (" \u{200b}\n\"' ", InvalidToken::Empty),
        ("#", InvalidToken::Empty),
        ("kubectl connect join --hub https://hub.example.com", InvalidToken::Empty),
        ("https://hub.example.com", InvalidToken::NoCode),
        ("https://hub.example.com/#", InvalidToken::NoCode),
        ("https://hub.example.com/connect", InvalidToken::NoCode),
        ("https://hub.example.com/join/", InvalidToken::NoCode),
        ("https://filter.example/?url=https%3A%2F%2Fhub.example.com%2F", InvalidToken::NoCode),
        ("ftp://hub.example.com/#abc", InvalidToken::Hub(InvalidHubUrl::Scheme("ftp".into()))),
        ("https://me:secret@hub.example.com/#abc", InvalidToken::Hub(InvalidHubUrl::Credentials)),
        ("$(id)", InvalidToken::NotACode),
        ("código", InvalidToken::NotACode),
        ("me@example", InvalidToken::NotACode),
        ("kubectl connect join https://a/#x --hub https://b", InvalidToken::TwoHubs),
    ] {
        let said = JoinToken::parse(text).expect_err("no token");
        assert_eq!(said, error, "{text:?}");
        assert!(!said.to_string().contains("secret") && said.to_string().lines().count() == 1);
    }
    assert_eq!(JoinToken::parse(&"a".repeat(MAX_CODE + 1)).expect_err("long"), InvalidToken::NotACode);
    assert_eq!(JoinToken::parse(&"a".repeat(MAX_BYTES + 1)).expect_err("long"), InvalidToken::TooLong);
}

#[test]
fn a_printed_command_can_be_typed_wherever_the_hub_is() {
    for (address, command) in [
        (HubUrl::DEFAULT, "kubectl connect join abc123"),
        ("https://hub.example.com", "kubectl connect join 'https://hub.example.com/#abc123'"),
        ("https://hub.example.com/pre", "kubectl connect join 'https://hub.example.com/pre/#abc123'"),
        ("http://127.0.0.1:3001", "kubectl connect join 'http://127.0.0.1:3001/#abc123'"),
        (
            "http://hub.example.com",
            "kubectl connect join 'http://hub.example.com/#abc123' --allow-insecure-hub",
        ),
        (
            "http://hub.team.svc:3001",
            "kubectl connect join 'http://hub.team.svc:3001/#abc123' --through-cluster",
        ),
        ("https://hub.example.com/$(id)'", "kubectl connect join 'https://hub.example.com/$(id)%27/#abc123'"),
    ] {
        assert_eq!(join_command("abc123", &hub(address)), command);
    }
    assert_eq!(join_command(FULL, &hub(HubUrl::DEFAULT)), format!("kubectl connect join {FULL}"));
}

#[test]
fn the_code_is_in_no_debug_output() {
    let token = JoinToken::parse("https://hub.example.com/#k7mwx2pq9d").expect("a token");
    assert!(!format!("{token:?}").contains("k7mwx2pq9d"));
}

/// Addresses as hubs have them.
fn addresses() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z]{1,8}\\.example\\.com",
        "hub-[a-z]{1,5}\\.team\\.svc",
        Just("127.0.0.1".into()),
        Just("[::1]".into())
    ];
    let path = prop_oneof![
        Just(String::new()),
        "(/[a-z0-9_~.-]{0,3}[a-z0-9]){1,3}",
        Just("/join".into()),
        Just("/a/open".into())
    ];
    ("https?", host, prop::option::of(1u16..), path).prop_map(|(scheme, host, port, path)| {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}")
    })
}

/// What is lost or added on the way, without a letter of the text.
fn around() -> impl Strategy<Value = (String, String)> {
    prop::sample::select(vec![
        ("", ""),
        (" ", "\n"),
        ("'", "'"),
        ("\"", "\""),
        ("`", "`"),
        ("<", ">"),
        ("(", ")."),
        ("\u{201c}", "\u{201d}"),
        ("\u{200b}", "\u{feff}"),
        ("\u{a0}", "\u{200e}"),
        ("**", "**"),
        ("> ", ""),
        ("", "."),
        ("", ","),
        ("\r\n", "\r\n"),
    ])
    .prop_map(|(before, behind)| (before.to_owned(), behind.to_owned()))
}

proptest! {
    #[test]
    fn no_text_can_make_it_panic(text in any::<String>()) {
        let _ = JoinToken::parse(&text);
    }

    #[test]
    fn no_text_like_a_token_can_make_it_panic(text in "(https?://|kubectl connect join |--hub |#|%23|/join/|[a-z:./?=\\[\\]'\" -]|\u{200b}){0,20}") {
        if let Ok(token) = JoinToken::parse(&text) {
            let code = token.code.expose_secret();
            prop_assert!(!code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        }
    }

    #[test]
    fn what_is_printed_is_read_whatever_stands_around_it(
        code in "[a-z0-9]{4,12}", secret in "[a-hjkmnp-z2-9]{16}", address in addresses(), (before, behind) in around(),
    ) {
        let hub = hub(&address);
        let expected = (code.clone(), hub.to_string());
        let link = JoinToken::print(&code, &hub);
        prop_assert_eq!(read(&format!("{before}{link}{behind}")), Ok(expected.clone()));
        prop_assert_eq!(read(&format!("{before}{}{behind}", join_command(&code, &hub))), Ok(expected.clone()));
        let flags = format!("{before}kubectl connect join {code} --hub {hub}{behind}");
        prop_assert_eq!(read(&flags), Ok(expected));
        prop_assert_eq!(read(&format!("{before}{code}{behind}")), Ok((code.clone(), String::new())));
        let full = full_code(&code, Some(&secret.clone().into()));
        let full = full.expose_secret();
        let command = join_command(full, &hub);
        for text in [full.to_owned(), JoinToken::print(full, &hub), command] {
            let token = JoinToken::parse(&format!("{before}{text}{behind}")).expect("a token");
            prop_assert_eq!(token.code.expose_secret(), &code);
            let found = token.secret.expect("whole");
            prop_assert_eq!(found.expose_secret(), &secret);
        }
    }

    #[test]
    fn dashes_blanks_and_capitals_do_not_change_a_code(
        parts in prop::collection::vec(("[a-zA-Z0-9]{1,4}", prop::sample::select(vec!["-", " ", "\u{2013}", "\n", "\u{ad}", "\u{200b}", "_", "."])), 2..5),
    ) {
        let text: String = parts.iter().map(|(part, between)| format!("{part}{between}")).collect();
        let code: String = parts.iter().map(|(part, _)| part.to_ascii_lowercase()).collect();
        prop_assume!(parts[0].0 != "join" && code.len() < 16);
        prop_assert_eq!(read(&text), Ok((code, String::new())));
    }
}
