//! Playing a run before it starts.
