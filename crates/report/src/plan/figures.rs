//! The plots of a plan.

use shoal_estimate::{Constraints, Estimate, choose};

use super::{PlanReport, describe};
use crate::numbers::{count, duration, usd};
use crate::page::{Figure, Table};
use crate::plot::{Curve, Curves, Panel, Scale, X};

/// The classes of the colours of curves. Further curves share the last one.
const CLASSES: [&str; 5] = ["series1", "series2", "series3", "series4", "series5"];
/// Candidates that cost more than this multiple of the most expensive one that is optimal are not drawn.
const MOST_USD_RATIO: f64 = 1.5;

fn class(index: usize) -> &'static str {
    CLASSES[index.min(CLASSES.len() - 1)]
}

/// A line over batch sizes or memory sizes: its name, and the best candidate at each x.
struct Line<'a> {
    name: String,
    points: Vec<(f64, &'a Estimate)>,
}

impl<'a> PlanReport<'a> {
    /// The candidates that exceed no limit.
    pub(super) fn possible(&self) -> impl Iterator<Item = &'a Estimate> {
        let all = self.plan.estimates.iter();
        all.filter(|estimate| estimate.broken.is_empty())
    }

    /// The candidate that the figures are about: the chosen one, or the fastest if nothing fits.
    fn center(&self) -> Option<&'a Estimate> {
        self.plan.chosen().or_else(|| self.plan.fastest())
    }

    /// The functions that the figures over batch size and memory are about: the chosen ones, or the best ones if the choice
    /// runs elsewhere.
    fn functions(&self) -> Option<&'a Estimate> {
        let is_function = |estimate: &&Estimate| estimate.memory_mb.is_some();
        let center = self.center().filter(is_function);
        center.or_else(|| self.best(self.possible().filter(is_function)))
    }

    /// The best of some candidates by the rule of the plan, with its constraints if any of them meets these.
    fn best(&self, of: impl Iterator<Item = &'a Estimate>) -> Option<&'a Estimate> {
        let of: Vec<&Estimate> = of.collect();
        let owned: Vec<Estimate> = of.iter().map(|one| (*one).clone()).collect();
        let index = choose(&owned, self.plan.constraints).index;
        let index = index.or_else(|| choose(&owned, Constraints::default()).index)?;
        Some(of[index])
    }

    /// The best candidate at each value of `x` among those that `is_of` accepts.
    fn line(
        &self,
        name: String,
        x: impl Fn(&Estimate) -> u64,
        is_of: impl Fn(&Estimate) -> bool,
    ) -> Line<'a> {
        let mut values: Vec<u64> = self.possible().filter(|one| is_of(one)).map(&x).collect();
        values.sort_unstable();
        values.dedup();
        let points = values.into_iter().filter_map(|value| {
            let at = self.possible().filter(|one| is_of(one) && x(one) == value);
            Some((value as f64, self.best(at)?))
        });
        Line {
            points: points.collect(),
            name,
        }
    }

    /// Time and cost of all candidates.
    pub(super) fn time_and_cost(&self) -> Option<Figure<'a>> {
        let mut places: Vec<&str> = self.possible().map(|one| one.place.as_str()).collect();
        places.sort_unstable();
        places.dedup();
        let optimal = || self.plan.pareto.iter().map(|&i| &self.plan.estimates[i]);
        let point = |estimate: &Estimate| (estimate.seconds, estimate.usd());
        let mut curves = vec![Curve {
            class: "base",
            points: optimal().map(point).collect(),
            is_connected: true,
            radius: 0.0,
        }];
        let mut legend = Vec::new();
        for (index, place) in places.into_iter().enumerate() {
            legend.push((class(index), place.to_owned()));
            let all: Vec<_> = self.possible().filter(|one| one.place == place).collect();
            let best: Vec<_> = optimal().filter(|one| one.place == place).collect();
            for (of, radius) in [(all, 2.5), (best, 4.5)] {
                curves.push(Curve {
                    class: class(index),
                    points: of.into_iter().map(point).collect(),
                    is_connected: false,
                    radius,
                });
            }
        }
        let most = optimal().map(Estimate::usd).fold(0.0, f64::max);
        let dearest = self.possible().map(Estimate::usd).fold(0.0, f64::max);
        let most = if most > 0.0 {
            most * MOST_USD_RATIO
        } else {
            dearest
        };
        let hidden = self.possible().filter(|one| one.usd() > most).count();
        let mut caption = String::from(
            "Each dot is a candidate; the line joins the large ones, which no other one beats in both time and cost.",
        );
        if hidden > 0 {
            caption += &format!(
                " {} that cost more than {} are left out.",
                count(hidden as u64),
                usd(most)
            );
        }
        let center = self.center()?;
        let curves = Curves {
            x: X::Times {
                title: "time (logarithmic scale)",
            },
            panels: vec![Panel {
                title: "USD",
                scale: Scale::Linear,
                most: Some(most),
                format: usd,
                curves,
                has_values: false,
                mark: self.mark(|one| one.seconds, Estimate::usd),
            }],
            mark: MARK,
        };
        Some(Figure {
            id: "time-and-cost",
            title: "What each candidate takes and costs".into(),
            description: format!(
                "{} candidates. {}: {} for {}.",
                count(self.possible().count() as u64),
                describe(center),
                duration(center.seconds),
                usd(center.usd())
            ),
            caption,
            legend,
            plot: Box::new(move |frame| curves.draw(frame)),
            data: candidates("Candidates that no other one beats", optimal()),
        })
    }

    /// Time and cost over batch size, a line for each memory size, and one for this machine.
    pub(super) fn over_batch_size(&self) -> Option<Figure<'a>> {
        let size = |estimate: &Estimate| estimate.batch_size;
        let mut lines = Vec::new();
        let mut caption = String::from("At each point, the best number of functions at a time");
        if let Some(functions) = self.functions() {
            let is_same = |one: &Estimate| {
                one.place == functions.place && one.architecture == functions.architecture
            };
            let mut memory: Vec<u32> = self
                .possible()
                .filter(|one| is_same(one))
                .filter_map(|one| one.memory_mb)
                .collect();
            memory.sort_unstable();
            memory.dedup();
            for mb in memory {
                let name = format!("{} MB", count(mb.into()));
                lines.push(self.line(name, size, |one| is_same(one) && one.memory_mb == Some(mb)));
            }
            caption += &format!(", for {} on {}", functions.place, functions.architecture);
        }
        let center = self.center()?;
        if center.memory_mb.is_none() {
            let place = &center.place;
            let is_same = |one: &Estimate| one.place == *place && one.memory_mb.is_none();
            lines.insert(0, self.line(place.clone(), size, is_same));
        }
        let x = X::Values {
            values: values(&lines),
            scale: Scale::Logarithmic,
            title: "records in a batch (logarithmic scale)",
        };
        let mark = |of: fn(&Estimate) -> f64| self.mark(|one| one.batch_size as f64, of);
        let title = "Over batch size, by memory";
        Some(figure("over-size", title, caption + ".", lines, x, mark))
    }

    /// Time and cost over memory, a line for each architecture, at one batch size.
    pub(super) fn over_memory(&self) -> Option<Figure<'a>> {
        let functions = self.functions()?;
        let memory = |estimate: &Estimate| estimate.memory_mb.unwrap_or_default().into();
        let is_same = |one: &Estimate| {
            one.place == functions.place
                && one.batch_size == functions.batch_size
                && one.memory_mb.is_some()
        };
        let mut architectures: Vec<_> = self
            .possible()
            .filter(|one| is_same(one))
            .map(|one| one.architecture)
            .collect();
        architectures.dedup();
        let mut lines: Vec<Line<'_>> = Vec::new();
        for architecture in architectures {
            let name = architecture.to_string();
            if lines.iter().all(|line| line.name != name) {
                let is_of = |one: &Estimate| is_same(one) && one.architecture == architecture;
                lines.push(self.line(name, memory, is_of));
            }
        }
        let x = X::Values {
            values: values(&lines),
            scale: Scale::Linear,
            title: "memory in MB",
        };
        let mut caption = format!(
            "For {} in batches of {}, at each point with the best number of functions at a time.",
            functions.place,
            count(functions.batch_size)
        );
        let is_function = self
            .plan
            .chosen()
            .is_some_and(|one| one.memory_mb.is_some());
        if !is_function {
            caption += " The choice is not among them.";
        }
        let mark = |of: fn(&Estimate) -> f64| {
            let memory = |one: &Estimate| f64::from(one.memory_mb.unwrap_or_default());
            self.mark(memory, of).filter(|_| is_function)
        };
        let title = "Over memory, by architecture";
        Some(figure("over-memory", title, caption, lines, x, mark))
    }

    /// The chosen candidate's point.
    fn mark(
        &self,
        x: impl Fn(&Estimate) -> f64,
        y: impl Fn(&Estimate) -> f64,
    ) -> Option<(f64, f64)> {
        self.plan.chosen().map(|chosen| (x(chosen), y(chosen)))
    }
}

const MARK: &str = "choice";

fn values(lines: &[Line<'_>]) -> Vec<f64> {
    let points = lines.iter().flat_map(|line| &line.points);
    let mut values: Vec<f64> = points.map(|(x, _)| *x).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// A figure with a panel for the time and one for the cost.
fn figure<'a>(
    id: &'static str,
    title: &str,
    caption: String,
    lines: Vec<Line<'a>>,
    x: X,
    mark: impl Fn(fn(&Estimate) -> f64) -> Option<(f64, f64)>,
) -> Figure<'a> {
    let curves = |of: fn(&Estimate) -> f64| {
        let lines = lines.iter().enumerate();
        let curve = |(index, line): (usize, &Line<'_>)| Curve {
            class: class(index),
            points: line.points.iter().map(|(x, one)| (*x, of(one))).collect(),
            is_connected: true,
            radius: 4.0,
        };
        lines.map(curve).collect()
    };
    let panel = |title, scale, format, of: fn(&Estimate) -> f64| Panel {
        title,
        scale,
        most: None,
        format,
        curves: curves(of),
        has_values: false,
        mark: mark(of),
    };
    let panels = vec![
        panel(
            "time (logarithmic scale)",
            Scale::Logarithmic,
            duration,
            |one| one.seconds,
        ),
        panel("USD", Scale::Linear, usd, Estimate::usd),
    ];
    let legend = lines.iter().enumerate();
    let legend = legend.map(|(index, line)| (class(index), line.name.clone()));
    let ends = lines.iter().filter_map(|line| {
        let ((_, first), (_, last)) = (line.points.first()?, line.points.last()?);
        Some(format!(
            "{}: {} for {} at the left, {} for {} at the right",
            line.name,
            duration(first.seconds),
            usd(first.usd()),
            duration(last.seconds),
            usd(last.usd())
        ))
    });
    let ends: Vec<String> = ends.collect();
    let drawn = lines.iter().flat_map(|line| &line.points);
    let data = candidates("Candidates that are drawn", drawn.map(|(_, one)| *one));
    Figure {
        id,
        title: title.into(),
        description: ends.join("; ") + ".",
        caption,
        legend: legend.collect(),
        plot: {
            let curves = Curves {
                x,
                panels,
                mark: MARK,
            };
            Box::new(move |frame| curves.draw(frame))
        },
        data,
    }
}

/// Candidates as a table.
pub(super) fn candidates<'e>(
    caption: impl Into<String>,
    estimates: impl Iterator<Item = &'e Estimate>,
) -> Table {
    Table::of(
        caption,
        estimates,
        &[
            ("Where", |one| one.place.clone()),
            ("Architecture", |one| one.architecture.to_string()),
            ("#MB", |one| {
                one.memory_mb.map_or("–".into(), |mb| count(mb.into()))
            }),
            ("#Batch size", |one| count(one.batch_size)),
            ("#At a time", |one| count(one.concurrency)),
            ("#Time", |one| duration(one.seconds)),
            ("#Cost", |one| usd(one.usd())),
            ("#Cold starts", |one| count(one.cold_starts)),
        ],
    )
}
