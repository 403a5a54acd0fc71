//! Paths of nested columns: names of fields and indexes of list items, separated by dots, such as `messages.0.content`.
//!
//! At each level, a field that is literally named like the whole rest of the path has precedence.

/// The first segment of a path, and the rest.
pub(super) fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

/// The index of a list item, from 0, that a segment stands for.
pub(super) fn index(segment: &str) -> Option<usize> {
    let is_number = segment.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| segment.parse().ok()).flatten()
}
