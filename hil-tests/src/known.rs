//! Where the reference differs from what is right, and what it does instead.
//!
//! This is the only list. A case that is listed with a difference asks
//! [`crate::bench::Bench::differs`] for it and then checks what stands here; if a later reference
//! does the right thing, that check fails and the difference can go.

/// A difference of the reference (`jmp run` 0.9.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// A hook that exceeds its time limit is killed alone; what it started lives on.
    HooksLeaveOrphans,
    /// `jmp run` exits with 0, whatever exit code the exporter chose: click drops the value that
    /// the command returns.
    ExitCodeIsLost,
    /// After a failure with `onFailure: exit` the status is OFFLINE at once, so no client sees the
    /// failure: it waits for five minutes instead of ending.
    FailureHiddenBehindOffline,
    /// In standalone mode EndSession runs no afterLease hook, since the lease has no client, and
    /// the status stays AVAILABLE, with which later clients wait in vain. The hook runs only when
    /// the exporter stops.
    StandaloneEndSession,
    /// A second SIGTERM is ignored, and a hook can keep the exporter from stopping.
    SecondSignalIgnored,
    /// Only the newest 256 records are kept until a client reads them.
    LogQueueIsShort,
    /// All readers of the log share one queue, and each record goes to one of them.
    LogReadersSteal,
    /// With `--passphrase`, `j` in a hook is refused: the hook socket asks for the passphrase, too,
    /// and the client sends none on a Unix socket.
    PassphraseLocksHooksOut,
    /// Driver calls are let through whatever the status is: the refusal is a coroutine that nobody
    /// awaits.
    CallsAreNotGated,
    /// A compressor on the way to the client is never flushed, so that a compressed dump lacks its
    /// end.
    SinksAreNotFlushed,
    /// The `Location` of a redirect is taken for a whole URL, so that a relative one fails.
    RelativeRedirects,
    /// When a client leaves, what it had sent but the device has not received yet may be lost.
    LeavingLosesTheEnd,
    /// When a serial device disappears, the client is told that the connection was closed normally.
    UnplugLooksNormal,
    /// An error text longer than 8 to 16 KiB exceeds what the client accepts as metadata, and the client
    /// gets RESOURCE_EXHAUSTED instead of the error.
    LongErrorsAreLost,
    /// Frames of other types than DATA and GOAWAY reach the driver as empty chunks.
    OtherFramesAreData,
    /// An unquoted `on:` in `methods_description` is a boolean in YAML 1.1, and the whole driver
    /// silently becomes an empty composite.
    UnquotedOnDropsTheDriver,
}
