//! The loop of `fan_out` without its thread, for tests that bring a runtime with a clock of their own.

use std::sync::mpsc::Sender;

use shoal_job::Event;

use crate::{Caller, DispatchError, FanOut, Work};

/// What [`fan_out`](crate::fan_out) drives on a thread of its own, as a future for a runtime of the test's. Each step is
/// sent to `events` the moment it is taken.
///
/// # Errors
/// Why not all batches have a receipt.
pub async fn drive<C: Caller>(
    caller: &C,
    settings: FanOut,
    work: &Work<'_>,
    events: Sender<Event>,
) -> Result<(), DispatchError> {
    crate::fan_out::drive(caller, settings, work, events).await
}
