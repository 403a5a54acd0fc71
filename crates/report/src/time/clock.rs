//! Time at work: the time of a run without the pauses between its starts.

use serde::Serialize;

/// Pauses up to this share of the time at work are kept.
const SHORTEST_CUT: f64 = 0.05;

/// Maps a moment to seconds at work.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Clock {
    /// Spans at work in milliseconds since 1970, ascending, with the seconds at work before each.
    spans: Vec<(f64, f64, f64)>,
    seconds: f64,
}

/// A pause that time axes leave out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pause {
    /// Its position, in seconds at work.
    pub at: f64,
    /// Its duration, in seconds.
    pub seconds: f64,
}

impl Clock {
    /// Work takes place within `spans`, in milliseconds since 1970. Short pauses between them count as work.
    pub(crate) fn of(mut spans: Vec<(f64, f64)>) -> Self {
        spans.sort_by(|one, other| one.partial_cmp(other).expect("times are numbers"));
        let apart = joined(&spans, 0.0);
        let busy: f64 = apart.iter().map(|(from, to)| to - from).sum();
        let mut seconds = 0.0;
        let spans = joined(&apart, busy * SHORTEST_CUT)
            .into_iter()
            .map(|(from, to)| {
                let before = seconds;
                seconds += (to - from) / 1000.0;
                (from, to, before)
            })
            .collect();
        Self { spans, seconds }
    }

    /// The whole time at work, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The seconds at work before a moment.
    pub(crate) fn at(&self, unix_ms: f64) -> f64 {
        let after = self.spans.partition_point(|(from, _, _)| *from <= unix_ms);
        let Some(&(from, to, before)) = after.checked_sub(1).and_then(|i| self.spans.get(i)) else {
            return 0.0;
        };
        before + (unix_ms.min(to) - from) / 1000.0
    }

    /// The pauses that are left out.
    pub(crate) fn pauses(&self) -> Vec<Pause> {
        let pairs = self.spans.windows(2);
        pairs
            .map(|pair| Pause {
                at: pair[1].2,
                seconds: (pair[1].0 - pair[0].1) / 1000.0,
            })
            .collect()
    }
}

/// Joins spans that are at most `pause` apart.
fn joined(spans: &[(f64, f64)], pause: f64) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for &(from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 + pause => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 s and 20 s at work, an hour apart. The second has a pause of 1 s, less than a twentieth of 30 s.
    #[test]
    fn long_pauses_are_left_out_and_short_ones_kept() {
        let s = 1000.0;
        let clock = Clock::of(vec![
            (3_610.0 * s, 3_620.0 * s),
            (0.0, 10.0 * s),
            (3_621.0 * s, 3_631.0 * s),
        ]);
        assert_eq!(clock.seconds(), 31.0);
        let pause = Pause {
            at: 10.0,
            seconds: 3_600.0,
        };
        assert_eq!(clock.pauses(), [pause]);
        let moments = [
            (-5.0, 0.0),
            (4.0, 4.0),
            (100.0, 10.0),
            (3_615.0, 15.0),
            (3_621.0, 21.0),
            (9_999.0, 31.0),
        ];
        for (at, seconds) in moments {
            assert_eq!(clock.at(at * s), seconds, "{at}");
        }
    }

    #[test]
    fn no_spans_take_no_time() {
        let clock = Clock::of(Vec::new());
        assert_eq!((clock.seconds(), clock.at(5.0)), (0.0, 0.0));
        assert!(clock.pauses().is_empty());
    }
}
