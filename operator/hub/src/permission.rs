//! What is asked before every byte: whether it may still pass.
//!
//! A timer may be late: after a machine slept or a process was stopped, what waited to be written would go on at once
//! and the end be noticed behind it. So whoever writes asks the clock itself, each time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

/// Says whether bytes may pass.
pub(crate) trait Permission: Send + Sync {
    /// Whether one more byte may pass now.
    fn holds(&self) -> bool;
    /// Cancelled when nothing may pass any more; perhaps later than [`Self::holds`] says so.
    fn token(&self) -> &CancellationToken;
}

/// A permission that many hold: a connection and its frames that are under way.
#[derive(Clone)]
pub(crate) struct Pass(Arc<dyn Permission>);

/// Writes for as long as a permission holds, and asks it before each attempt, also after a wait.
#[derive(Debug)]
pub(crate) struct Guarded<W> {
    inner: W,
    pass: Pass,
}

// === impl Pass ===

impl Pass {
    pub(crate) fn new(permission: impl Permission + 'static) -> Self {
        Self(Arc::new(permission))
    }

    /// See [`Permission::holds`].
    pub(crate) fn holds(&self) -> bool {
        self.0.holds()
    }

    /// See [`Permission::token`].
    pub(crate) fn token(&self) -> &CancellationToken {
        self.0.token()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.holds() { "Pass (holds)" } else { "Pass (over)" })
    }
}

// === impl Guarded ===

impl<W> Guarded<W> {
    pub(crate) fn new(inner: W, pass: &Pass) -> Self {
        Self { inner, pass: pass.clone() }
    }

    fn ask(&self) -> io::Result<()> {
        if self.pass.holds() { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Guarded<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ask()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask()?; // TLS holds bytes back until now
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask()?; // an orderly end would say that this was all
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Takes a permission back without telling anybody, as a clock does.
    #[derive(Clone, Default)]
    pub(crate) struct Taker(Arc<AtomicBool>);

    /// Holds until it is taken back.
    struct UntilTaken(Taker, CancellationToken);

    impl Taker {
        pub(crate) fn pass(&self) -> Pass {
            Pass::new(UntilTaken(self.clone(), CancellationToken::new()))
        }

        pub(crate) fn take_back(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    impl Permission for UntilTaken {
        fn holds(&self) -> bool {
            !self.0.0.load(Ordering::Relaxed)
        }

        fn token(&self) -> &CancellationToken {
            &self.1
        }
    }

    #[tokio::test]
    async fn what_waited_does_not_pass_when_it_could_be_written_after_the_end() {
        let taker = Taker::default();
        let pass = taker.pass();
        let (near, mut far) = duplex(4);
        let mut guarded = Guarded::new(near, &pass);
        {
            let mut write = std::pin::pin!(guarded.write_all(b"12345678"));
            assert!(poll!(&mut write).is_pending(), "four bytes are all that can wait");
            taker.take_back();
            let mut passed = [0; 4];
            far.read_exact(&mut passed).await.expect("what passed before");
            let error = write.await.expect_err("it is over");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        }
        assert!(guarded.shutdown().await.is_err(), "no orderly end");
        assert!(guarded.flush().await.is_err());
        drop(guarded);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.expect("the end");
        assert_eq!(rest, b"");
    }
}
