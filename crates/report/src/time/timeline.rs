//! Invocations by environment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::fold::{Invocation, Outcome};
use crate::time::Clock;

/// The most lanes. Where there are more environments, a lane is a group of them.
const MOST_LANES: usize = 40;
/// The most invocations that are drawn one by one.
const MOST_MARKS: usize = 400;
/// Time steps of a lane whose invocations are merged.
const STEPS: usize = 120;
/// Shades for how busy a lane was.
const SHADES: f64 = 4.0;

/// When each environment worked.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    /// Number of environments.
    pub environments: u64,
    /// Whether marks stand for time steps, shaded by how busy the lane was, instead of invocations.
    pub is_merged: bool,
    /// By their first invocation, those without an environment last.
    pub lanes: Vec<Lane>,
    /// Throttled calls by time step: seconds at work, and their number.
    pub throttled: Vec<(f64, u64)>,
}

/// An environment, or several that began one after the other.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Lane {
    /// The environment's name; for several, the first name and the number of others.
    pub name: String,
    /// Number of environments; 0 if none was recorded.
    pub environments: u64,
    /// Invocations.
    pub invocations: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Records worked on.
    pub records: u64,
    /// Function time, in seconds.
    pub busy_seconds: f64,
    /// Its beginning, in seconds at work.
    pub from: f64,
    /// The marks to draw.
    pub marks: Vec<Mark>,
}

/// A mark in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mark {
    /// Its beginning, in seconds at work.
    pub from: f64,
    /// Its end, in seconds at work.
    pub to: f64,
    /// What it stands for.
    pub kind: MarkKind,
}

/// What a mark stands for. Of merged invocations, later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// Work, and how busy the lane was, from 1 to 4; a single invocation has 4.
    Work(u8),
    /// A cold start: the initialization of the environment, if its time is known.
    Cold,
    /// An attempt after the first.
    Retry,
    /// A call without an answer.
    Unanswered,
    /// Work that another invocation did, too.
    Duplicate,
    /// A failed attempt.
    Failed,
}

impl Timeline {
    pub(crate) fn of(invocations: &[Invocation], throttled_unix_ms: &[u64], clock: &Clock) -> Self {
        let (known, unknown): (Vec<_>, Vec<_>) = invocations
            .iter()
            .filter_map(|invocation| {
                let (from, to) = invocation.span_ms()?;
                let (from, to) = (clock.at(from), clock.at(to));
                Some(Placed {
                    invocation,
                    from,
                    to,
                })
            })
            .partition(|placed| !placed.invocation.environment.is_empty());
        let rows = by_environment(&known);
        let environments = rows.len();
        let is_merged = environments > MOST_LANES || known.len() + unknown.len() > MOST_MARKS;
        let lanes_left = MOST_LANES - usize::from(!unknown.is_empty());
        let mut lanes: Vec<Lane> = grouped(rows, lanes_left)
            .into_iter()
            .map(|group| lane(&group, is_merged, clock))
            .collect();
        let unknown = packed(&unknown);
        if !unknown.is_empty() {
            let room = (MOST_LANES - lanes.len().min(MOST_LANES - 1)).clamp(1, MOST_LANES / 4);
            lanes.extend(grouped(unknown, room).into_iter().map(|group| Lane {
                environments: 0,
                name: "not recorded".into(),
                ..lane(&group, is_merged, clock)
            }));
        }
        Self {
            environments: environments as u64,
            is_merged,
            lanes,
            throttled: throttled(throttled_unix_ms, clock),
        }
    }

    /// The kinds of marks in use.
    pub(crate) fn kinds(&self) -> BTreeSet<MarkKind> {
        let marks = self.lanes.iter().flat_map(|lane| &lane.marks);
        marks.map(|mark| mark.kind).collect()
    }
}

/// An invocation with its position on the time axis.
#[derive(Clone, Copy)]
struct Placed<'a> {
    invocation: &'a Invocation,
    from: f64,
    to: f64,
}

/// One row for each environment, by its first invocation.
fn by_environment<'a>(known: &[Placed<'a>]) -> Vec<Vec<Placed<'a>>> {
    let mut rows: Vec<Vec<Placed<'a>>> = Vec::new();
    let mut row_of: HashMap<&str, usize> = HashMap::new();
    for &placed in known {
        let row = *row_of
            .entry(placed.invocation.environment.as_ref())
            .or_insert(rows.len());
        match rows.get_mut(row) {
            Some(row) => row.push(placed),
            None => rows.push(vec![placed]),
        }
    }
    rows
}

/// Calls without an environment in as few rows as possible, without overlap.
fn packed<'a>(unknown: &[Placed<'a>]) -> Vec<Vec<Placed<'a>>> {
    let mut rows: Vec<Vec<Placed<'a>>> = Vec::new();
    for &placed in unknown {
        let is_free = |row: &Vec<Placed<'_>>| row.last().is_none_or(|last| last.to <= placed.from);
        match rows.iter().position(is_free) {
            Some(free) => rows[free].push(placed),
            None if rows.len() < MOST_LANES => rows.push(vec![placed]),
            None => rows[MOST_LANES - 1].push(placed),
        }
    }
    rows
}

/// Joins neighbouring rows into at most `most` groups.
fn grouped(rows: Vec<Vec<Placed<'_>>>, most: usize) -> Vec<Vec<Vec<Placed<'_>>>> {
    let size = rows.len().div_ceil(most.max(1)).max(1);
    let mut groups = Vec::new();
    for row in rows {
        match groups.last_mut() {
            Some(group) if Vec::len(group) < size => group.push(row),
            _ => groups.push(vec![row]),
        }
    }
    groups
}

fn lane(group: &[Vec<Placed<'_>>], is_merged: bool, clock: &Clock) -> Lane {
    let all = || group.iter().flatten();
    let count =
        |is: fn(&Invocation) -> bool| all().filter(|placed| is(placed.invocation)).count() as u64;
    let first = group.first().and_then(|row| row.first());
    let mut name = first.map_or(String::new(), |placed| {
        placed.invocation.environment.to_string()
    });
    if group.len() > 1 {
        name = format!("{name} and {} more", group.len() - 1);
    }
    Lane {
        name,
        environments: group.len() as u64,
        invocations: all().count() as u64,
        cold_starts: count(Invocation::is_cold),
        retries: count(|invocation| invocation.attempt > 1),
        records: all().map(|placed| placed.invocation.records()).sum(),
        busy_seconds: all().map(|placed| placed.to - placed.from).sum(),
        from: first.map_or(0.0, |placed| placed.from),
        marks: if is_merged {
            merged(group, clock)
        } else {
            all().flat_map(single).collect()
        },
    }
}

/// The marks of a single invocation.
fn single(placed: &Placed<'_>) -> Vec<Mark> {
    let (invocation, from, to) = (placed.invocation, placed.from, placed.to);
    let kind = match kind(invocation) {
        MarkKind::Cold => MarkKind::Work(4),
        other => other,
    };
    let mut marks = vec![Mark { from, to, kind }];
    if let Some(receipt) = invocation.receipt.as_ref().filter(|receipt| receipt.cold) {
        let init = receipt.timings.init / 1000.0;
        marks.push(Mark {
            from: (from - init).max(0.0),
            to: from,
            kind: MarkKind::Cold,
        });
    }
    marks
}

fn kind(invocation: &Invocation) -> MarkKind {
    match invocation.outcome {
        Outcome::Failed => MarkKind::Failed,
        Outcome::Unanswered => MarkKind::Unanswered,
        Outcome::Duplicate => MarkKind::Duplicate,
        Outcome::Done if invocation.attempt > 1 => MarkKind::Retry,
        Outcome::Done if invocation.is_cold() => MarkKind::Cold,
        Outcome::Done => MarkKind::Work(4),
    }
}

/// The marks of many invocations: how busy the lane was in each time step, and other events.
fn merged(group: &[Vec<Placed<'_>>], clock: &Clock) -> Vec<Mark> {
    let step = clock.seconds() / STEPS as f64;
    if step <= 0.0 {
        return Vec::new();
    }
    let place = |seconds: f64| ((seconds / step) as usize).min(STEPS - 1);
    let mut busy = [0.0; STEPS];
    let mut others = BTreeSet::new();
    for placed in group.iter().flatten() {
        let kind = kind(placed.invocation);
        let is_work = !matches!(kind, MarkKind::Failed | MarkKind::Unanswered);
        let (first, last) = (place(placed.from), place(placed.to));
        for (index, busy) in busy.iter_mut().enumerate().take(last + 1).skip(first) {
            let begins = index as f64 * step;
            let within = placed.to.min(begins + step) - placed.from.max(begins);
            if is_work {
                *busy += within.max(0.0);
            }
        }
        if !matches!(kind, MarkKind::Work(_)) {
            others.insert((kind, first));
        }
    }
    let room = step * group.len() as f64;
    let shades: Vec<u8> = busy
        .iter()
        .map(|busy| (busy / room * SHADES - 1e-9).ceil().clamp(0.0, SHADES) as u8)
        .collect();
    let mut marks: Vec<Mark> = Vec::new();
    let mark = |from: usize, to: usize, kind| Mark {
        from: from as f64 * step,
        to: to as f64 * step,
        kind,
    };
    let mut from = 0;
    for run in shades.chunk_by(|one, other| one == other) {
        if run[0] > 0 {
            marks.push(mark(from, from + run.len(), MarkKind::Work(run[0])));
        }
        from += run.len();
    }
    // Neighbouring steps of one kind are one mark.
    let others: Vec<(MarkKind, usize)> = others.into_iter().collect();
    for run in others.chunk_by(|one, next| (one.0, one.1 + 1) == *next) {
        let (kind, first) = run[0];
        marks.push(mark(first, first + run.len(), kind));
    }
    marks
}

fn throttled(throttled_unix_ms: &[u64], clock: &Clock) -> Vec<(f64, u64)> {
    let step = clock.seconds() / STEPS as f64;
    if step <= 0.0 {
        return Vec::new();
    }
    let mut counts = BTreeMap::<usize, u64>::new();
    for &at in throttled_unix_ms {
        let index = ((clock.at(at as f64) / step) as usize).min(STEPS - 1);
        *counts.entry(index).or_default() += 1;
    }
    let at = |index: usize| (index as f64 + 0.5) * step;
    let counts = counts.into_iter();
    counts.map(|(index, calls)| (at(index), calls)).collect()
}
