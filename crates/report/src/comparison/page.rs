//! What the report of a comparison shows.

use shoal_estimate::{Basis, PaperBaseline};

use crate::comparison::{ComparisonReport, ComparisonRow};
use crate::cost::bill_table;
use crate::page::{Block, Figure, Page, Section, Table, Tile};
use crate::plot::{Line, Lines, Plot};

use crate::numbers;

impl ComparisonReport {
    pub(crate) fn page(&self) -> Page<'_> {
        let mut sections = vec![self.figures(), self.claim()];
        sections.extend(
            [
                self.costs(),
                self.comparison.paper_baseline.as_ref().map(paper_baseline),
            ]
            .into_iter()
            .flatten(),
        );
        sections.extend([self.about(), self.again()]);
        Page {
            kind: "Comparison",
            title: "monolithic against parallel".into(),
            lead: self.lead(),
            tiles: self.tiles(),
            sections,
        }
    }

    fn lead(&self) -> String {
        let c = &self.comparison;
        let source = match c.basis {
            Basis::Measured => "Times were measured.",
            Basis::Predicted => {
                "Times are predicted: they were computed from measurements, and nothing ran on the platform."
            }
            Basis::Assumed => "Times are assumed.",
        };
        format!(
            "{} of {}, processed by one function for all batches in turn and by one function per batch, at most {} at a time ({}). {source}",
            numbers::plural(c.records, "record", "records"),
            c.inputs.join(", "),
            numbers::count(c.concurrency),
            c.place,
        )
    }

    fn tiles(&self) -> Vec<Tile> {
        let c = &self.comparison;
        let tile = |name, value, note| Tile {
            name,
            value,
            note,
            basis: Some(c.basis),
        };
        let Some(best) = self.fastest() else {
            return Vec::new();
        };
        let at = format!("at batch size {}", numbers::count(best.batch_size));
        let mut tiles = vec![
            tile(
                "Monolithic",
                numbers::duration(best.monolithic_seconds),
                at.clone(),
            ),
            tile(
                "Parallel",
                numbers::duration(best.parallel_seconds),
                format!("{at}, the fastest"),
            ),
            tile(
                "Less time",
                numbers::percent(best.reduction),
                format!(
                    "at most {} functions at a time",
                    numbers::count(best.peak_functions)
                ),
            ),
        ];
        match best.cost_change {
            Some(change) => {
                let usd = |usd: Option<f64>| usd.map(numbers::usd).unwrap_or_default();
                let note = format!(
                    "{} and {}",
                    usd(best.monolithic_usd),
                    usd(best.parallel_usd)
                );
                tiles.push(tile("Cost", numbers::change(change), note));
            }
            None => tiles.push(Tile {
                basis: None,
                ..tile(
                    "Cost",
                    "–".into(),
                    "nothing that was used has a price".into(),
                )
            }),
        }
        tiles
    }

    fn figures(&self) -> Section<'_> {
        let sizes: Vec<u64> = self.rows.iter().map(|row| row.batch_size).collect();
        let line = |of: fn(&ComparisonRow) -> f64| Line {
            values: self.rows.iter().map(of).collect(),
        };
        let time = Figure {
            id: "time",
            title: "Time over batch size".into(),
            description: self.at_the_ends(|row| {
                format!(
                    "{} monolithic, {} parallel",
                    numbers::duration(row.monolithic_seconds),
                    numbers::duration(row.parallel_seconds)
                )
            }),
            caption: "From the start to the last receipt.".into(),
            legend: candidates(),
            plot: Plot::OverBatchSize(Lines {
                title: "time (logarithmic scale)",
                batch_sizes: sizes.clone(),
                lines: vec![
                    line(|row| row.monolithic_seconds),
                    line(|row| row.parallel_seconds),
                ],
                is_logarithmic: true,
                format: numbers::duration,
            }),
            data: self.table(),
        };
        let mut blocks = vec![Block::Figure(Box::new(time))];
        let is_priced =
            |row: &ComparisonRow| row.monolithic_usd.is_some() && row.parallel_usd.is_some();
        if !self.rows.is_empty() && self.rows.iter().all(is_priced) {
            let cost = Figure {
                id: "cost-over-size",
                title: "Cost over batch size".into(),
                description: self.at_the_ends(|row| {
                    let usd = |usd: Option<f64>| usd.map(numbers::usd).unwrap_or_default();
                    format!(
                        "{} monolithic, {} parallel",
                        usd(row.monolithic_usd),
                        usd(row.parallel_usd)
                    )
                }),
                caption: "In US dollars, without free tiers, taxes and discounts.".into(),
                legend: candidates(),
                plot: Plot::OverBatchSize(Lines {
                    title: "USD",
                    batch_sizes: sizes,
                    lines: vec![
                        line(|row| row.monolithic_usd.unwrap_or(0.0)),
                        line(|row| row.parallel_usd.unwrap_or(0.0)),
                    ],
                    is_logarithmic: false,
                    format: numbers::usd,
                }),
                data: self.table(),
            };
            blocks.push(Block::Figure(Box::new(cost)));
        }
        blocks.push(Block::Table(self.table()));
        Section {
            id: "over-batch-size",
            title: "Time and cost over batch size",
            basis: Some(self.comparison.basis),
            blocks,
        }
    }

    /// A sentence on the smallest and the largest batch size.
    fn at_the_ends(&self, of: fn(&ComparisonRow) -> String) -> String {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else {
            return "No batch size was compared.".into();
        };
        let at = |row: &ComparisonRow| {
            format!(
                "at {} records a batch {}",
                numbers::count(row.batch_size),
                of(row)
            )
        };
        let mut text = at(first);
        if self.rows.len() > 1 {
            text += &format!("; {}", at(last));
        }
        text[..1].to_uppercase() + &text[1..] + "."
    }

    fn table(&self) -> Table {
        let mut table = Table::new(
            "Both approaches by batch size",
            &[
                "Batch size",
                "#Monolithic",
                "#Parallel",
                "#Less time",
                "#Monolithic cost",
                "#Parallel cost",
                "#Change",
                "#Per million records",
                "#Functions",
                "#Efficiency",
                "#Cold starts",
            ],
        );
        let usd = |usd: Option<f64>| usd.map_or_else(|| "–".into(), numbers::usd);
        for row in &self.rows {
            table.push([
                numbers::count(row.batch_size),
                numbers::duration(row.monolithic_seconds),
                numbers::duration(row.parallel_seconds),
                numbers::percent(row.reduction),
                usd(row.monolithic_usd),
                usd(row.parallel_usd),
                row.cost_change.map_or_else(|| "–".into(), numbers::change),
                usd(row.parallel_usd_per_million_records),
                numbers::count(row.peak_functions),
                numbers::percent(row.efficiency),
                numbers::count(row.cold_starts),
            ]);
        }
        table
    }

    fn claim(&self) -> Section<'_> {
        let (c, paper) = (&self.comparison, &self.paper);
        let range = |values: &mut dyn Iterator<Item = f64>, format: fn(f64) -> String| {
            let (least, most) = values.fold(
                (f64::INFINITY, f64::NEG_INFINITY),
                |(least, most), value| (least.min(value), most.max(value)),
            );
            match (format(least), format(most)) {
                _ if least > most => "–".into(),
                (least, most) if least == most => least,
                (least, most) => format!("{least} to {most}"),
            }
        };
        let minutes = |[least, most]: [f64; 2]| format!("{least} to {most} min");
        let rows = &self.rows;
        let mut table = Table::new(
            "Compared with the paper, which used another model, other data and other functions",
            &["", "Paper", "Here"],
        );
        table.push([
            "Batch sizes".into(),
            format!(
                "{} to {}",
                paper.batch_sizes[0],
                numbers::count(paper.batch_sizes[1])
            ),
            range(&mut rows.iter().map(|row| row.batch_size as f64), |size| {
                numbers::count(size as u64)
            }),
        ]);
        table.push([
            "Monolithic".into(),
            minutes(paper.monolithic_minutes),
            range(
                &mut rows.iter().map(|row| row.monolithic_seconds),
                numbers::duration,
            ),
        ]);
        table.push([
            "Parallel".into(),
            minutes(paper.parallel_minutes),
            range(
                &mut rows.iter().map(|row| row.parallel_seconds),
                numbers::duration,
            ),
        ]);
        table.push([
            "Less time".into(),
            "at least 95 %".into(),
            range(&mut rows.iter().map(|row| row.reduction), numbers::percent),
        ]);
        let either = rows
            .iter()
            .flat_map(|row| [row.monolithic_usd, row.parallel_usd])
            .flatten();
        table.push([
            "Cost of either approach".into(),
            format!(
                "{} to {}",
                numbers::usd(paper.usd[0]),
                numbers::usd(paper.usd[1])
            ),
            range(&mut either.into_iter(), numbers::usd),
        ]);
        table.push([
            "Change in cost".into(),
            "within ±5 %".into(),
            range(
                &mut rows.iter().filter_map(|row| row.cost_change),
                numbers::change,
            ),
        ]);
        let text = format!(
            "The claim is at least 95 % less time at a cost within ±5 % of the monolithic run, if the platform provides the \
             functions ({}). {}",
            paper.source,
            self.verdict()
        );
        Section {
            id: "claim",
            title: "The paper's claim",
            basis: Some(c.basis),
            blocks: vec![Block::Text(text), Block::Table(table)],
        }
    }

    /// Whether the claim holds.
    fn verdict(&self) -> String {
        let judged: Vec<bool> = self
            .rows
            .iter()
            .filter_map(|row| row.is_as_claimed)
            .collect();
        let as_claimed = judged.iter().filter(|&&is| is).count();
        if judged.is_empty() {
            let saved = self
                .rows
                .iter()
                .filter(|row| row.reduction >= self.paper.reduction)
                .count();
            return format!(
                "Nothing here has a price; {saved} of {} save 95 % of the time.",
                numbers::plural(self.rows.len() as u64, "batch size", "batch sizes")
            );
        }
        let mut verdict = format!(
            "Here it holds at {as_claimed} of {}.",
            numbers::plural(judged.len() as u64, "batch size", "batch sizes")
        );
        let most = self
            .rows
            .iter()
            .map(|row| row.peak_functions)
            .max()
            .unwrap_or(0);
        if as_claimed < judged.len() && most < 20 {
            verdict += &format!(
                " With {} at a time, at most {} of the time can be saved.",
                numbers::plural(most, "function", "functions"),
                numbers::percent(1.0 - 1.0 / most.max(1) as f64)
            );
        }
        verdict
    }

    fn costs(&self) -> Option<Section<'_>> {
        let best = self.fastest()?;
        let size = self
            .comparison
            .rows
            .iter()
            .find(|size| size.batch_size == best.batch_size)?;
        let tables = [
            ("Monolithic", &size.monolithic),
            ("Parallel", &size.parallel),
        ]
        .map(|(name, candidate)| {
            let mut table = bill_table(candidate.bill.as_ref()?);
            table.caption = format!(
                "{name} at batch size {}: {}",
                numbers::count(size.batch_size),
                lower(&table.caption)
            );
            Some(table)
        });
        let tables: Vec<Table> = tables.into_iter().flatten().collect();
        if tables.is_empty() {
            return None;
        }
        Some(Section {
            id: "cost",
            title: "Cost by item",
            basis: None,
            blocks: tables.into_iter().map(Block::Table).collect(),
        })
    }

    fn about(&self) -> Section<'_> {
        let c = &self.comparison;
        let mut table = Table::new("What was compared", &["", ""]);
        let mut fact = |name: &str, value: String| table.push([name.into(), value]);
        for input in &c.inputs {
            fact("Input", input.clone());
        }
        fact("Records", numbers::count(c.records));
        fact("Tokens", numbers::count(c.tokens));
        fact("Model", c.model.clone());
        fact("Engine", format!("{} on {}", c.precision, c.isa));
        fact("Backend", c.place.clone());
        fact(
            "Concurrency",
            format!("at most {}", numbers::count(c.concurrency)),
        );
        fact("Times", c.basis.to_string());
        let mut blocks = vec![Block::Table(table)];
        if !c.assumptions.is_empty() {
            blocks.push(Block::Text("What was assumed, not measured:".into()));
            blocks.push(Block::List(c.assumptions.clone()));
        }
        Section {
            id: "about",
            title: "What was compared",
            basis: None,
            blocks,
        }
    }

    fn again(&self) -> Section<'_> {
        Section {
            id: "again",
            title: "How to repeat it",
            basis: None,
            blocks: vec![Block::Command(self.comparison.command.clone())],
        }
    }
}

/// The colours of both approaches.
fn candidates() -> Vec<(&'static str, String)> {
    ["monolithic", "parallel"]
        .map(|candidate| (candidate, candidate.to_owned()))
        .into()
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// The paper's implementation compared with shoal.
fn paper_baseline(paper: &PaperBaseline) -> Section<'static> {
    let mut table = Table::new(
        format!(
            "One thread on {}, in padded batches of {}",
            numbers::plural(paper.records, "record", "records"),
            numbers::count(paper.batch_size)
        ),
        &["", "#Paper's implementation", "#shoal", "#Ratio"],
    );
    let times = |theirs: f64, ours: f64| numbers::number(theirs / ours);
    table.push([
        "Time per record".into(),
        numbers::duration(paper.seconds_per_record),
        numbers::duration(paper.shoal_seconds_per_record),
        times(paper.seconds_per_record, paper.shoal_seconds_per_record),
    ]);
    table.push([
        "Cost of a million records".into(),
        numbers::usd(paper.usd_per_million),
        numbers::usd(paper.shoal_usd_per_million),
        times(paper.usd_per_million, paper.shoal_usd_per_million),
    ]);
    table.push([
        "Start of a process".into(),
        numbers::duration(paper.start_seconds),
        String::new(),
        String::new(),
    ]);
    Section {
        id: "paper-baseline",
        title: "The paper's implementation",
        basis: None,
        blocks: vec![
            Block::Text(format!(
                "{}, measured here with the same model and records, at the price of the functions. Times are measured; costs are computed from them.",
                paper.runtime
            )),
            Block::Table(table),
        ],
    }
}
