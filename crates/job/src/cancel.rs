//! Stopping before the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to stop that many threads can see. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    own: Arc<AtomicBool>,
    above: Option<Arc<Cancel>>,
}

impl Cancel {
    /// Nobody wants to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A wish that is there too when this one is, but not the other way round.
    pub fn child(&self) -> Self {
        Self {
            own: Arc::default(),
            above: Some(Arc::new(self.clone())),
        }
    }

    /// Asks everyone who sees this wish, or a child of it, to stop soon.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.own.load(Ordering::Relaxed) || self.above.as_ref().is_some_and(|a| a.is_cancelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_goes_down_not_up() {
        let (above, other) = (Cancel::new(), Cancel::new());
        let below = above.child();
        other.child().cancel();
        assert!(!other.is_cancelled());
        above.clone().cancel();
        assert!(below.is_cancelled());
    }
}
