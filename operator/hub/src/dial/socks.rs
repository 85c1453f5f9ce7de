//! SOCKS 5 (RFC 1928, and RFC 1929 for passwords): the proxy finds the addresses of names.

use std::io;
use std::net::IpAddr;

use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ProxyTrouble;
use super::rules::{Credentials, authority};

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;

/// Ways to log in.
const NO_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;
const NO_WAY: u8 = 0xff;

/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks the proxy at the other end of `stream` for a connection to `host`, a name or an address without brackets. Reads not a byte
/// more than its answer.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    credentials: Option<&Credentials>,
    host: &str,
    port: u16,
) -> Result<(), ProxyTrouble> {
    log_in(stream, credentials).await?;
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(NAME);
            with_length(&mut request, host).ok_or_else(|| broke_off("the host's name is too long"))?;
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(broke)?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(broke_off("it does not speak SOCKS 5"));
    }
    if reply != 0 {
        return Err(refusal(reply, authority(host, port)));
    }
    match kind {
        IPV4 => read::<6>(stream).await.map(drop),
        IPV6 => read::<18>(stream).await.map(drop),
        NAME => {
            let [length] = read(stream).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut rest).await.map(drop).map_err(broke)
        }
        _ => Err(broke_off("it names an address of no kind")),
    }
}

/// Tells the password if the proxy asks for it: one that asks for nothing is not told.
async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    credentials: Option<&Credentials>,
) -> Result<(), ProxyTrouble> {
    let greeting: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_LOGIN, BY_PASSWORD],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(greeting).await.map_err(broke)?;
    let [version, way] = read(stream).await?;
    if version != VERSION {
        return Err(broke_off("it does not speak SOCKS 5"));
    }
    match (way, credentials) {
        (NO_LOGIN, _) => Ok(()),
        (BY_PASSWORD, Some(Credentials { user, password })) => {
            let mut login = vec![PASSWORD_VERSION];
            // None that is longer can be right.
            with_length(&mut login, user).ok_or(ProxyTrouble::LoginRefused)?;
            with_length(&mut login, password.expose_secret()).ok_or(ProxyTrouble::LoginRefused)?;
            stream.write_all(&login).await.map_err(broke)?;
            let [_, status] = read(stream).await?;
            if status == 0 { Ok(()) } else { Err(ProxyTrouble::LoginRefused) }
        }
        (NO_WAY, Some(_)) => Err(ProxyTrouble::LoginRefused),
        (NO_WAY, None) => Err(ProxyTrouble::WantsLogin),
        _ => Err(broke_off("it chose a way to log in that was not offered")),
    }
}

/// Appends a text behind its length; nothing when that is more than a byte says.
fn with_length(bytes: &mut Vec<u8>, text: &str) -> Option<()> {
    bytes.push(u8::try_from(text.len()).ok()?);
    bytes.extend(text.as_bytes());
    Some(())
}

async fn read<const LENGTH: usize>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<[u8; LENGTH], ProxyTrouble> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).await.map_err(broke)?;
    Ok(bytes)
}

fn refusal(reply: u8, target: String) -> ProxyTrouble {
    let said = match reply {
        2 => return ProxyTrouble::Forbidden { target },
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "general failure",
    };
    ProxyTrouble::Failed { target, said: said.to_owned() }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn broke(error: io::Error) -> ProxyTrouble {
    let ended = error.kind() == io::ErrorKind::UnexpectedEof;
    ProxyTrouble::Broke(if ended { "it closed the connection".to_owned() } else { error.to_string() })
}

fn broke_off(why: &str) -> ProxyTrouble {
    ProxyTrouble::Broke(why.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    /// What becomes of asking a proxy that says this and then no more; and what it was told.
    async fn asked(
        host: &str,
        login: Option<(&str, &str)>,
        said: &[u8],
    ) -> (Result<(), ProxyTrouble>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(1024);
        theirs.write_all(said).await.expect("room");
        theirs.shutdown().await.expect("shut down");
        let credentials =
            login.map(|(user, password)| Credentials { user: user.to_owned(), password: password.into() });
        let asked = connect(&mut ours, credentials.as_ref(), host, 443).await;
        drop(ours);
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.expect("readable");
        (asked, told)
    }

    #[tokio::test]
    async fn destinations_are_told_as_they_were_named() {
        let port = [1, 187];
        for (host, expected) in [
            ("hub.corp", [&[3, 8][..], b"hub.corp"].concat()),
            ("192.0.2.1", vec![1, 192, 0, 2, 1]),
            ("2001:db8::1", vec![4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            for bound in [vec![1, 0, 0, 0, 0], [vec![4], vec![0; 16]].concat(), vec![3, 1, b'x']] {
                let said = [&[5, 0, 5, 0, 0][..], &bound, &[0, 0]].concat();
                let (asked, told) = asked(host, None, &said).await;
                assert_eq!(asked, Ok(()), "{host}");
                assert_eq!(told, [&[5, 1, 0, 5, 1, 0][..], &expected, &port].concat(), "{host}");
            }
        }
    }

    #[tokio::test]
    async fn every_answer_has_its_meaning() {
        let target = || "hub.corp:443".to_owned();
        let failed = |said: &str| Err(ProxyTrouble::Failed { target: target(), said: said.to_owned() });
        let broke = |why: &str| Err(ProxyTrouble::Broke(why.to_owned()));
        let mia = Some(("mia", "secret"));
        let long = "x".repeat(256);
        for (login, said, expected) in [
            (mia, &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], Ok(())),
            (mia, &[5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0], Ok(())),
            (mia, &[5, 2, 1, 1], Err(ProxyTrouble::LoginRefused)),
            (mia, &[5, 0xff], Err(ProxyTrouble::LoginRefused)),
            (Some(("mia", long.as_str())), &[5, 2], Err(ProxyTrouble::LoginRefused)),
            (None, &[5, 0xff], Err(ProxyTrouble::WantsLogin)),
            (None, &[5, 2], broke("it chose a way to log in that was not offered")),
            (mia, &[5, 1], broke("it chose a way to log in that was not offered")),
            (None, &[5, 0, 5, 2, 0, 1], Err(ProxyTrouble::Forbidden { target: target() })),
            (None, &[5, 0, 5, 1, 0, 1], failed("general failure")),
            (None, &[5, 0, 5, 3, 0, 1], failed("network unreachable")),
            (None, &[5, 0, 5, 4, 0, 1], failed("host unreachable")),
            (None, &[5, 0, 5, 5, 0, 1], failed("connection refused")),
            (None, &[5, 0, 5, 200, 0, 1], failed("general failure")),
            (None, &[5, 0, 5, 0, 0, 9], broke("it names an address of no kind")),
            (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", broke("it does not speak SOCKS 5")),
            (None, &[5, 0, 4, 0, 0, 1], broke("it does not speak SOCKS 5")),
            (None, &[], broke("it closed the connection")),
            (None, &[5, 0, 5, 0, 0, 3, 9, b'x'], broke("it closed the connection")),
        ] {
            assert_eq!(asked("hub.corp", login, said).await.0, expected, "{login:?} {said:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_wait(said in proptest::collection::vec(any::<u8>(), 0..300), host in "\\PC{0,300}") {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = runtime.block_on(asked(&host, Some(("mia", "secret")), &said));
        }
    }
}
