//! TCP to a name: its addresses one beside the other, and beside an attempt that hangs another one.
//!
//! A first packet may be lost, or go to a process that is about to end: behind a Service of Kubernetes every attempt may
//! reach another Pod. So an attempt that hangs is left to itself, and a new one begins beside it; the first one that
//! succeeds is used.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

/// How long TCP may take, finding the name's addresses included: those who wait for a hub have more to do afterwards.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an attempt has before the next address gets one beside it (RFC 8305 recommends this delay).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How long all attempts have before the same addresses get another one beside them: as soon as systems send a first
/// packet again, but from another port, so that a load balancer chooses anew.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Rounds of attempts; the last one has a second until [`CONNECT_TIMEOUT`].
const ROUNDS: usize = 4;

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects within [`CONNECT_TIMEOUT`].
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let connecting = async {
        let found = lookup_host((host, port)).await?;
        let addresses = interleaved(found.collect());
        race(&addresses, |address| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .await
    };
    timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| {
        let seconds = CONNECT_TIMEOUT.as_secs();
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {seconds} seconds")))
    })
}

/// Families in turn, beginning with that of the system's first choice, without repetitions.
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut addresses: Vec<SocketAddr> = Vec::new();
    while !(first.is_empty() && second.is_empty()) {
        for address in [first.pop_front(), second.pop_front()].into_iter().flatten() {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

/// The first attempt that succeeds; fails when every address has refused. Those that hang are tried again in rounds.
async fn race<T, F>(addresses: &[SocketAddr], attempt: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut refusing: Vec<SocketAddr> = Vec::new();
    let mut attempts = FuturesUnordered::new();
    let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().collect();
    let mut rounds = 1;
    let mut next = Instant::now();
    loop {
        if waiting.is_empty() && rounds < ROUNDS && Instant::now() >= next {
            waiting.extend(addresses.iter().filter(|address| !refusing.contains(address)));
            rounds += 1;
        }
        if Instant::now() >= next
            && let Some(address) = waiting.pop_front()
        {
            let trying = attempt(address);
            attempts.push(async move { (address, trying.await) });
            next = Instant::now() + if waiting.is_empty() { AGAIN_AFTER } else { NEXT_ADDRESS_AFTER };
        }
        if attempts.is_empty() && waiting.is_empty() {
            return Err(last);
        }
        tokio::select! {
            Some((address, ended)) = attempts.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = error;
                    refusing.push(address);
                    waiting.retain(|waiting| *waiting != address);
                    if !waiting.is_empty() {
                        next = Instant::now(); // no need to wait beside nobody
                    }
                }
            },
            () = sleep_until(next), if !waiting.is_empty() || rounds < ROUNDS => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// What becomes of the attempts at an address, one after the other.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Hangs,
        Refuses,
        Connects,
    }

    use Fate::{Connects, Hangs, Refuses};

    /// Addresses, and what becomes of the attempts at each.
    type Fates<'a> = [(u8, &'a [Fate])];

    /// Which attempt won, as address and number of the attempt there, and when; or why none did.
    type Raced = Result<((u8, usize), Duration), io::ErrorKind>;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 443))
    }

    async fn raced(fates: &Fates<'_>) -> Raced {
        let addresses: Vec<_> = fates.iter().map(|(last, _)| address(*last)).collect();
        let begun = Mutex::new(HashMap::<SocketAddr, usize>::new());
        let started = Instant::now();
        let attempt = |at: SocketAddr| {
            let number = {
                let mut begun = begun.lock().expect("sound");
                let number = begun.entry(at).or_default();
                *number += 1;
                *number
            };
            let (last, fates) = *fates.iter().find(|(last, _)| address(*last) == at).expect("known");
            let fate = fates.get(number - 1).copied().unwrap_or(Hangs);
            async move {
                match fate {
                    Hangs => std::future::pending().await,
                    Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                    Connects => Ok((last, number)),
                }
            }
        };
        match timeout(CONNECT_TIMEOUT, race(&addresses, attempt)).await {
            Ok(Ok(winner)) => Ok((winner, started.elapsed())),
            Ok(Err(error)) => Err(error.kind()),
            Err(_) => Err(io::ErrorKind::TimedOut),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_answers_is_used_and_nobody_waits_beside_a_refusal() {
        let ms = Duration::from_millis;
        let cases: &[(&Fates<'_>, Raced)] = &[
            (&[(1, &[Connects])], Ok(((1, 1), ms(0)))),
            (&[(1, &[Refuses]), (2, &[Connects])], Ok(((2, 1), ms(0)))),
            (&[(1, &[Hangs]), (2, &[Connects])], Ok(((2, 1), ms(250)))),
            // The first packet went to a Pod that is dying; the second attempt reaches its successor.
            (&[(1, &[Hangs, Connects])], Ok(((1, 2), ms(1000)))),
            (&[(1, &[Hangs, Hangs, Connects])], Ok(((1, 3), ms(2000)))),
            (&[(1, &[Refuses]), (2, &[Hangs, Connects])], Ok(((2, 2), ms(1000)))),
            (&[(1, &[Hangs]), (2, &[Hangs, Connects])], Ok(((2, 2), ms(1500)))),
            (&[(1, &[Refuses])], Err(io::ErrorKind::ConnectionRefused)),
            (&[(1, &[Refuses]), (2, &[Refuses])], Err(io::ErrorKind::ConnectionRefused)),
            (&[(1, &[Hangs]), (2, &[Refuses])], Err(io::ErrorKind::TimedOut)),
            (&[], Err(io::ErrorKind::NotFound)),
        ];
        for (fates, expected) in cases {
            let raced = raced(fates).await;
            // The paused clock steps in whole milliseconds.
            let near = match (&raced, expected) {
                (Ok((winner, at)), Ok((wanted, when))) => {
                    winner == wanted && at.abs_diff(*when) <= Duration::from_millis(5)
                }
                (Err(why), Err(wanted)) => why == wanted,
                _ => false,
            };
            assert!(near, "{fates:?}: {raced:?}, not {expected:?}");
        }
    }

    #[test]
    fn families_take_turns() {
        let v6 = |last: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 443));
        let found = vec![v6(1), v6(2), v6(1), address(1), address(2), v6(3)];
        assert_eq!(interleaved(found), [v6(1), address(1), v6(2), address(2), v6(3)]);
        assert_eq!(interleaved(Vec::new()), []);
        assert_eq!(interleaved((0..20).map(address).collect()).len(), MAX_ADDRESSES);
    }
}
