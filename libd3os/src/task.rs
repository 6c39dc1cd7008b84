//! Futures in a program of one thread.
//!
//! Such a program waits at one place, and whatever it waits for signals it there. So a future
//! that cannot go on needs no waker: [`block_on`] waits, and then looks at all of them again.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

/// Runs a future to its end. `idle` waits until something may have happened; it may return
/// without that.
pub fn block_on<F: Future>(future: F, mut idle: impl FnMut()) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        idle();
    }
}

/// What came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first future's output.
    First(A),
    /// The second's.
    Second(B),
}

/// Runs two futures until one of them ends; the other one is dropped. Where both are ready the
/// first counts.
pub async fn select<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Futures that run beside each other.
#[derive(Default)]
pub struct Tasks<'a>(Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>);

impl<'a> Tasks<'a> {
    /// Adds one.
    pub fn add(&mut self, task: impl Future<Output = ()> + 'a) {
        self.0.push(Box::pin(task));
    }

    /// How many have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets each go on as far as it can.
    pub fn poll(&mut self, context: &mut Context<'_>) {
        self.0.retain_mut(|task| task.as_mut().poll(context).is_pending());
    }
}

impl fmt::Debug for Tasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("len", &self.len()).finish()
    }
}

/// It took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it took too long")
    }
}

impl core::error::Error for Elapsed {}

/// Deadlines of a program's futures. Whoever waits in [`block_on`] asks for the earliest
/// ([`Self::take_earliest`]) and does not wait longer.
#[derive(Clone)]
pub struct Alarm(Rc<State>);

struct State {
    now: Box<dyn Fn() -> Duration>,
    earliest: Cell<Option<Duration>>,
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("earliest", &self.0.earliest).finish_non_exhaustive()
    }
}

impl Alarm {
    /// An alarm by this clock.
    pub fn new(now: impl Fn() -> Duration + 'static) -> Self {
        Self(Rc::new(State { now: Box::new(now), earliest: Cell::new(None) }))
    }

    /// The clock's time.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.0.now)()
    }

    /// The earliest deadline that a future has met since the last time it was asked.
    #[must_use]
    pub fn take_earliest(&self) -> Option<Duration> {
        self.0.earliest.take()
    }

    /// Waits until this time by the clock.
    pub async fn until(&self, deadline: Duration) {
        poll_fn(|_| {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            let earliest = self.0.earliest.get();
            self.0.earliest.set(Some(earliest.map_or(deadline, |other| other.min(deadline))));
            Poll::Pending
        })
        .await;
    }

    /// Waits so long.
    pub async fn sleep(&self, time: Duration) {
        self.until(self.now() + time).await;
    }

    /// Runs a future for at most so long.
    ///
    /// # Errors
    /// [`Elapsed`] where it has not ended by then; it is dropped.
    pub async fn limit<F: Future>(&self, time: Duration, future: F) -> Result<F::Output, Elapsed> {
        match select(future, self.sleep(time)).await {
            Either::First(output) => Ok(output),
            Either::Second(()) => Err(Elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::{pending, ready};

    /// A clock that a wait moves to the earliest deadline.
    fn alarm() -> (Alarm, impl FnMut()) {
        let time = Rc::new(Cell::new(Duration::ZERO));
        let clock = Rc::clone(&time);
        let alarm = Alarm::new(move || clock.get());
        let idle = alarm.clone();
        (alarm, move || time.set(idle.take_earliest().expect("nothing would end this wait")))
    }

    #[test]
    fn a_future_is_looked_at_after_every_wait() {
        let looks = Cell::new(0);
        let future = poll_fn(|_| {
            looks.set(looks.get() + 1);
            if looks.get() == 3 { Poll::Ready("done") } else { Poll::Pending }
        });
        let mut waits = 0;
        assert_eq!(block_on(future, || waits += 1), "done");
        assert_eq!(waits, 2);
    }

    #[test]
    fn the_first_of_two_counts() {
        let never = pending::<()>;
        let idle = || unreachable!("both are ready");
        assert_eq!(block_on(select(ready(1), ready(2)), idle), Either::First::<_, i32>(1));
        assert_eq!(block_on(select(never(), ready(2)), idle), Either::Second(2));
    }

    #[test]
    fn deadlines_end_waits_in_their_order() {
        let (alarm, idle) = alarm();
        let seconds = Duration::from_secs;
        let outcome = block_on(
            async {
                let short = alarm.limit(seconds(3), alarm.sleep(seconds(2))).await;
                let long = alarm.limit(seconds(3), pending::<()>()).await;
                (short, long, alarm.now())
            },
            idle,
        );
        assert_eq!(outcome, (Ok(()), Err(Elapsed), seconds(5)));
    }

    #[test]
    fn tasks_run_beside_each_other() {
        let (alarm, idle) = alarm();
        let order = core::cell::RefCell::new(Vec::new());
        let mut tasks = Tasks::default();
        for time in [3, 1, 2] {
            let (alarm, order) = (&alarm, &order);
            tasks.add(async move {
                alarm.sleep(Duration::from_secs(time)).await;
                order.borrow_mut().push(time);
            });
        }
        let all = poll_fn(|context| {
            tasks.poll(context);
            if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        block_on(all, idle);
        assert_eq!(*order.borrow(), [1, 2, 3]);
    }
}
