//! What a run took and cost, from what it recorded.
