//! What happened over the time of a run: plain data for plots and tables.

mod clock;
mod series;
mod timeline;

pub(crate) use clock::Clock;
pub use clock::Pause;
pub use series::{Series, SeriesPoint};
pub use timeline::{Lane, Mark, MarkKind, Timeline};
