//! Ports on this machine: the wanted one where it is free on every address, another free one otherwise.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::{BoundRoute, JoinError, LocalRoute};

/// Free ports tried until one is free on all addresses.
const FREE_PORT_ATTEMPTS: usize = 16;

/// Where to listen when nobody says.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A route with its port, and the listeners of that port.
pub(super) type Bound = (BoundRoute, Vec<TcpListener>);

/// Binds a port for every route, in order.
pub(super) async fn bind_all(routes: &[LocalRoute], bind: &[IpAddr]) -> Result<Vec<Bound>, JoinError> {
    let addresses = if bind.is_empty() { &LOOPBACK[..] } else { bind };
    let mut all = Vec::with_capacity(routes.len());
    for route in routes {
        let LocalRoute { name, service_id: _, wanted_port, protocol } = route;
        let (port, listeners) = bind_route(addresses, *wanted_port)
            .await
            .map_err(|source| JoinError::Bind { route: name.clone(), source })?;
        let (name, protocol) = (name.clone(), protocol.clone());
        all.push((BoundRoute { name, wanted_port: *wanted_port, port, protocol }, listeners));
    }
    Ok(all)
}

async fn bind_route(addresses: &[IpAddr], wanted: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    if wanted != 0
        && let Ok(bound) = bind_port(addresses, wanted).await
    {
        return Ok(bound);
    }
    let mut last = io::Error::other("no address to listen on");
    for _ in 0..FREE_PORT_ATTEMPTS {
        match bind_port(addresses, 0).await {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Binds one port on all addresses that this machine has. A port that somebody else holds on one of them is no good:
/// clients that resolve `localhost` would reach them instead of us.
async fn bind_port(addresses: &[IpAddr], port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut listeners: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    let mut port = port;
    let mut absent = io::Error::other("no address to listen on");
    for address in addresses {
        match TcpListener::bind(SocketAddr::new(*address, port)).await {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_absent(&error) => absent = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(absent) } else { Ok((port, listeners)) }
}

/// Whether the machine does not have the address at all, as with IPv6 switched off.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// "Address family not supported" on Linux, for which the standard library has no stable kind.
const EAFNOSUPPORT: i32 = 97;

#[cfg(test)]
mod tests {
    use super::*;

    fn route(wanted_port: u16) -> LocalRoute {
        LocalRoute { name: "api".into(), service_id: uuid::Uuid::nil(), wanted_port, protocol: "tcp".into() }
    }

    #[tokio::test]
    async fn a_taken_port_is_replaced_by_another_on_the_same_addresses() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let taken = holder.local_addr().expect("bound").port();
        let bound = bind_all(&[route(taken), route(0)], &[]).await.expect("bound");
        for (route, listeners) in &bound {
            assert_ne!(route.port, taken);
            for listener in listeners {
                let address = listener.local_addr().expect("bound");
                assert_eq!(address.port(), route.port);
                assert!(address.ip().is_loopback());
            }
        }
        assert_eq!(bound[0].0.wanted_port, taken);
        assert_ne!(bound[0].0.port, bound[1].0.port);
    }

    #[tokio::test]
    async fn a_free_port_is_given_as_wanted() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let bound = bind_all(&[route(port)], &[LOOPBACK[0]]).await.expect("bound");
        assert_eq!(bound[0].0.port, port);
    }
}
