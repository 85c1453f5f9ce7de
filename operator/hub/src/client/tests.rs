//! Calls and sockets through a real proxy to a real hub.

use tokio::time::timeout;

use super::{Client, ClientOptions};
use crate::dial::Proxies;
use crate::dial::tests::{DEADLINE, RunningProxy, trust};
use crate::url::{HubUrl, InsecureHttp};

#[tokio::test]
async fn a_hub_s_whole_api_and_its_socket_go_through_the_proxy() {
    let data = tempfile::tempdir().expect("a folder");
    let listen = "127.0.0.1:0".parse().expect("an address");
    let limits = connect_hubd::Limits::default();
    let config = connect_hubd::HubConfig { listen, public_url: None, data: data.path().to_owned(), limits };
    let hub = connect_hubd::Hub::start(config).await.expect("a hub");
    let url = format!("http://{}", hub.address());
    let url = HubUrl::parse(&url, InsecureHttp::Refused).expect("a URL");
    let proxy = RunningProxy::tinyproxy("BasicAuth mia secret").await;
    let options = || ClientOptions { api_key: None, tls: trust() };
    let through = |url_of_proxy: &str| {
        let proxies = Proxies::only(url_of_proxy, "HTTP_PROXY").expect("a proxy");
        Client::new(url.clone(), options()).expect("a client").through(proxies)
    };
    let client = through(&proxy.url("mia:secret@"));
    timeout(DEADLINE, client.health()).await.expect("in time").expect("the hub answers");
    timeout(DEADLINE, client.check_way()).await.expect("in time").expect("a websocket comes about");
    let asked = proxy.log().matches(&format!("CONNECT {}", hub.address())).count();
    assert_eq!(asked, 2, "{}", proxy.log());

    let refused = timeout(DEADLINE, through(&proxy.url("")).health()).await.expect("in time");
    let error = refused.expect_err("no password").to_string();
    let expected = format!(
        "requires a user and a password: set HTTP_PROXY to http://USER:PASSWORD@127.0.0.1:{}",
        proxy.port
    );
    assert!(error.ends_with(&expected), "{error}");
}
