//! Record positions.

use super::MAX_RECORD_BYTES;
use crate::spec::Fault;

/// The position of a record in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Its first line, from 1.
    pub(crate) line: u64,
    pub(crate) fault: Option<Fault>,
}

impl Span {
    pub(crate) fn new(start: u64, end: u64, line: u64) -> Self {
        let fault = (end - start > MAX_RECORD_BYTES).then_some(Fault::Oversized);
        Self {
            start,
            end,
            line,
            fault,
        }
    }
}
