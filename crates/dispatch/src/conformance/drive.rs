//! The loop of `fan_out` without its thread, for tests with a paused clock.

use std::sync::mpsc::Sender;

use shoal_job::Event;

use crate::{Caller, DispatchError, FanOut, Work};

/// The loop that [`fan_out`](crate::fan_out) runs on a thread of its own, as a future. Every event is sent to `events`
/// immediately.
///
/// # Errors
/// As [`fan_out`](crate::fan_out).
pub async fn drive<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    events: Sender<Event>,
) -> Result<(), DispatchError> {
    crate::fan_out::drive(caller, settings, work, events).await
}
