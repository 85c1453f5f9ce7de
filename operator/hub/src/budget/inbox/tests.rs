use super::super::Memory;
use super::*;

const KIB: usize = 1024;

/// For a tunnel that is alone.
fn budget(all_bytes: usize, link_bytes: usize) -> Budget {
    Budget::new(&Memory::new(2 * all_bytes), link_bytes)
}

fn chunk(len: usize) -> Bytes {
    Bytes::from(vec![1; len])
}

#[tokio::test]
async fn an_end_stays_behind_the_bytes_and_room_comes_back() {
    let budget = budget(64 * KIB, 16 * KIB);
    let (tx, mut rx) = inbox(&budget);
    tx.push(&budget, chunk(10)).await.expect("room");
    tx.push(&budget, chunk(KIB)).await.expect("room");
    tx.finish();
    tx.close();
    assert_eq!((tx.waiting(), budget.used()), (MIN_CHARGE + KIB, MIN_CHARGE + KIB));
    assert!(matches!(rx.next().await, Some(Item::Chunk(bytes, _)) if bytes.len() == 10));
    assert!(matches!(rx.next().await, Some(Item::Chunk(bytes, _)) if bytes.len() == KIB));
    assert!(matches!(rx.next().await, Some(Item::Fin)));
    assert!(matches!(rx.next().await, Some(Item::Close)));
    assert_eq!((tx.waiting(), budget.used()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_move_is_given_up_and_one_that_moves_is_waited_for() {
    let budget = budget(64 * KIB, 4 * KIB);
    let (tx, mut rx) = inbox(&budget);
    tx.push(&budget, chunk(4 * KIB)).await.expect("room");
    assert_eq!(tx.push(&budget, chunk(1)).await, Err(NotAccepted::Stalled));
    assert!(tx.is_still());

    rx.moved();
    let reader = async {
        tokio::time::sleep(STILL / 2).await;
        rx.next().await
    };
    let (pushed, taken) = tokio::join!(tx.push(&budget, chunk(1)), async { reader.await.map(drop) });
    assert_eq!((pushed, taken), (Ok(()), Some(())));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_crawls_holds_the_others_up_for_a_bounded_time() {
    let (crawls, fine) = (Duration::from_millis(400), Duration::from_millis(40));
    for (every, is_given_up) in [(crawls, true), (fine, false)] {
        let budget = budget(64 * KIB, 4 * KIB);
        let (tx, mut rx) = inbox(&budget);
        let reader = async {
            loop {
                tokio::time::sleep(every).await;
                let Some(item) = rx.next().await else { return };
                rx.moved();
                drop(item);
            }
        };
        let sender = async {
            let began = Instant::now();
            for _ in 0..200 {
                if tx.push(&budget, chunk(KIB)).await == Err(NotAccepted::Stalled) {
                    return Some(began.elapsed());
                }
            }
            None
        };
        let held = tokio::select! {
            held = sender => held,
            () = reader => unreachable!("the sender is there"),
        };
        assert_eq!(held.is_some(), is_given_up, "every {every:?}");
        assert!(held.is_none_or(|held| held <= 2 * HELD_LIMIT), "{held:?} by its clock, which is not real");
    }
}

#[tokio::test]
async fn marks_that_a_hub_repeats_take_no_places() {
    let budget = budget(64 * KIB, MIN_CHARGE * 4);
    let (tx, mut rx) = inbox(&budget);
    for _ in 0..100 {
        tx.ready();
        tx.finish();
        tx.failed(&"why ".repeat(10_000));
        tx.close();
    }
    assert!(!rx_given_up(&tx));
    for _ in 0..4 {
        tx.push(&budget, chunk(1)).await.expect("a place for every chunk that has room");
    }
    tx.handshake("one");
    assert!(!rx_given_up(&tx));
    tx.handshake("two");
    assert!(rx_given_up(&tx), "a second word on encryption ends the connection");
    let mut items = Vec::new();
    drop(tx);
    while let Some(item) = rx.next().await {
        items.push(item);
    }
    assert_eq!(items.len(), 9, "{items:?}");
    assert!(matches!(&items[2], Item::Failed(reason) if reason == "the connection failed"), "{items:?}");
}

#[tokio::test]
async fn a_chunk_that_can_never_fit_and_a_connection_that_is_gone_are_told_apart() {
    let budget = budget(64 * KIB, 4 * KIB);
    let (tx, rx) = inbox(&budget);
    assert_eq!(tx.push(&budget, chunk(5 * KIB)).await, Err(NotAccepted::OverLimit));
    drop(rx);
    assert_eq!(tx.push(&budget, chunk(1)).await, Err(NotAccepted::Gone));
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_flood_of_single_bytes_is_bounded_by_the_same_limit() {
    let budget = budget(64 * KIB, 4 * KIB);
    let (tx, _rx) = inbox(&budget);
    for _ in 0..(4 * KIB / MIN_CHARGE) {
        tx.push(&budget, chunk(1)).await.expect("room");
    }
    assert_eq!(tx.room.available_permits(), 0);
    tx.finish();
    tx.close();
    assert!(!rx_given_up(&tx));
}

fn rx_given_up(tx: &InboxTx) -> bool {
    tx.give_up.is_cancelled()
}
