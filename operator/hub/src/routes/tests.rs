//! The timer of all ends: any sequence of steps, on a wall clock that a test moves and a monotonic one that stands still.

use std::collections::HashMap;
use std::task::{Context, Wake, Waker};

use jiff::SignedDuration;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::*;

/// A wall clock that goes with the runtime's paused clock and can be stepped.
struct WallClock {
    began: Instant,
    step: Mutex<SignedDuration>,
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let went = SignedDuration::try_from(self.began.elapsed()).expect("short");
        Timestamp::UNIX_EPOCH + went + *self.step.lock().expect("lock")
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Sets or moves the end of a share to so many milliseconds from now.
    SetEnd(u8, i64),
    End(u8),
    Forget(u8),
    /// Moves the wall clock by so many milliseconds.
    MoveWall(i64),
    /// Lets so many milliseconds pass.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, -2_000i64..20_000).prop_map(|(share, at)| Step::SetEnd(share, at)),
        1 => (0u8..6).prop_map(Step::End),
        1 => (0u8..6).prop_map(Step::Forget),
        2 => (-15_000i64..15_000).prop_map(Step::MoveWall),
        4 => (0u64..8_000).prop_map(Step::Pass),
    ]
}

fn key(share: u8) -> ShareKey {
    ShareKey(format!("share-{share}"))
}

/// An end that is to come, as the test knows it.
struct Armed {
    end: Timestamp,
    /// Since when, by the monotonic clock, the wall clock has shown the end or more.
    due_since: Option<Instant>,
}

/// What must hold after any step.
#[derive(Default)]
struct Model {
    armed: HashMap<ShareKey, Armed>,
    ended: HashMap<ShareKey, EndReason>,
}

impl Model {
    fn set_end(&mut self, share: ShareKey, end: Timestamp) {
        if !self.ended.contains_key(&share) {
            self.armed.insert(share, Armed { end, due_since: None });
        }
    }

    /// An end was told at this moment: it must have been due, and not have been told before.
    fn told(&mut self, told: ShareEnded, now: Timestamp) {
        let armed = self.armed.remove(&told.share);
        if told.why == EndReason::Expired {
            let end = armed.expect("an end that is to come, told once").end;
            assert!(end <= now, "{:?} ended {} early", told.share, end - now);
        }
        assert_eq!(self.ended.insert(told.share, told.why), None, "told twice");
    }

    /// No end is overdue by more than one look at the clock.
    fn nothing_is_overdue(&mut self, now: Timestamp) {
        for (share, armed) in &mut self.armed {
            if armed.end > now {
                armed.due_since = None;
                continue;
            }
            let late = armed.due_since.get_or_insert_with(Instant::now).elapsed();
            // The runtime's timers are exact to the millisecond.
            assert!(late <= CLOCK_CHECK + Duration::from_millis(1), "{share:?} is {late:?} late");
        }
    }
}

async fn check(steps: Vec<Step>) {
    let clock = Arc::new(WallClock { began: Instant::now(), step: Mutex::default() });
    let routes = Routes::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let mut told = routes.ended();
    let mut model = Model::default();
    for step in steps {
        let mut pass = Duration::ZERO;
        match step {
            Step::SetEnd(share, millis) => {
                let end = clock.now() + SignedDuration::from_millis(millis);
                routes.set_end(&key(share), end);
                model.set_end(key(share), end);
            }
            Step::End(share) => routes.end(&key(share), EndReason::Revoked),
            Step::Forget(share) => {
                routes.forget(&key(share));
                model.armed.remove(&key(share));
                model.ended.remove(&key(share));
            }
            Step::MoveWall(millis) => {
                *clock.step.lock().expect("lock") += SignedDuration::from_millis(millis);
            }
            Step::Pass(millis) => pass = Duration::from_millis(millis),
        }
        let until = Instant::now() + pass;
        loop {
            // All that is ready runs before the paused clock moves on, so an end is heard at the moment it is told.
            tokio::task::yield_now().await;
            while let Ok(end) = told.try_recv() {
                model.told(end, clock.now());
            }
            model.nothing_is_overdue(clock.now());
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sleep(left.min(Duration::from_millis(50))).await;
        }
    }
}

/// Looks at a share in the very call that tells its end, which wakes whoever listens.
struct Witness {
    routes: Routes,
    service_id: Uuid,
    guard: ConnectionGuard,
    /// Whether a dial was refused and the connection cut.
    seen: Mutex<Option<(bool, bool)>>,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        let refused = self.routes.authorize(self.service_id, self.routes.shared.clock.now()).is_err();
        let cut = self.guard.pass().token().is_cancelled();
        self.seen.lock().expect("lock").get_or_insert((refused, cut));
    }
}

#[tokio::test(start_paused = true)]
async fn dials_are_refused_and_connections_cut_when_an_end_is_told() {
    for why in [EndReason::Revoked, EndReason::Expired] {
        let clock = Arc::new(WallClock { began: Instant::now(), step: Mutex::default() });
        let routes = Routes::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let (share, service_id) = (key(0), Uuid::new_v4());
        let targets = vec![SocketAddr::from(([127, 0, 0, 1], 9))];
        let (name, protocol) = ("api".to_owned(), "tcp".to_owned());
        let route = Route { share: Some(share.clone()), name, tunnel_port: None, protocol, targets };
        routes.set(service_id, route);
        routes.set_end(&share, clock.now() + SignedDuration::from_secs(60));
        let (_, guard) = routes.admit(service_id).expect("is open");
        let witness = Arc::new(Witness { routes: routes.clone(), service_id, guard, seen: Mutex::default() });
        let mut told = routes.ended();
        let waker = Waker::from(Arc::clone(&witness));
        let mut telling = std::pin::pin!(told.recv());
        assert!(telling.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

        match why {
            EndReason::Expired => sleep(Duration::from_secs(61)).await,
            why => routes.end(&share, why),
        }
        assert_eq!(*witness.seen.lock().expect("lock"), Some((true, true)), "{why:?}");
        assert_eq!(telling.await.expect("told"), ShareEnded { share, why });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_end_is_told_once_never_early_and_at_most_one_look_late(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(check(steps));
    }
}
