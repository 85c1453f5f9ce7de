//! An exposing process that is frozen over its share's end and resumed after it, as a suspended laptop is.

use connect_hub::tunnel::Memory;
use jiff::{Timestamp, ToSpan};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;
use uuid::Uuid;

use crate::elsewhere;
use crate::support::lab::dial;
use crate::support::oxide::OxideHub;
use crate::support::services::{Manual, ended, exchange};
use crate::support::{eventually, local_join, within};

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
    kill_process(pid, signal).expect("signalled");
}

/// The process's state as the kernel shows it: `T` when it is stopped.
fn is_stopped(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id().expect("it runs")));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
}

#[tokio::test]
async fn no_byte_passes_after_a_resume() {
    let hub = OxideHub::start(&["e2e"]).await;
    let mut service = Manual::start().await;
    let service_id = Uuid::new_v4();
    let mut child = elsewhere::start(&hub.url, service_id, service.address, &Memory::default());
    let config = local_join(&hub.url, service_id);
    let join = within("a join", connect_hub::join::Join::start(config)).await.expect("joined");
    let (mut at_service, mut client) = loop {
        let mut client = dial(&join, 0).await;
        tokio::select! {
            at_service = service.accept() => break (at_service, client),
            () = ended(&mut client) => {} // not exposed yet
        }
    };
    let echo = async {
        let (mut read, mut write) = at_service.split();
        tokio::io::copy(&mut read, &mut write).await
    };
    tokio::select! {
        got = exchange(&mut client, b"before") => assert_eq!(got, b"before"),
        _ = echo => panic!("the connection ended"),
    }

    let end = Timestamp::now() + 2.seconds();
    let input = child.stdin.as_mut().expect("piped");
    input.write_all(format!("{end}\n").as_bytes()).await.expect("told");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    within("the end is set", async {
        while !lines.next_line().await.expect("read").expect("a line").ends_with("set") {} // the harness may begin the line
    })
    .await;
    signal(&child, Signal::STOP);
    eventually("it is frozen", || is_stopped(&child)).await;
    client.write_all(b"late").await.expect("written");
    at_service.write_all(b"late").await.expect("written");
    eventually("the end has passed", || Timestamp::now() > end).await;
    signal(&child, Signal::CONT);
    ended(&mut at_service).await;
    ended(&mut client).await;
}
