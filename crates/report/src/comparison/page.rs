//! What the report of a comparison shows.

use shoal_estimate::{Approach, Basis, PaperBaseline};

use crate::comparison::{ComparisonReport, ComparisonRow};
use crate::cost::bill_table;
use crate::numbers::{capitalized, change, count, duration, number, percent, plural, range, usd};
use crate::page::{Block, Figure, NO_PRICE, Page, Section, Table, Tile};
use crate::plot::{Curve, Curves, Panel, Scale, X};

/// The names of both approaches, which are their classes too.
const CLASSES: [&str; 2] = ["monolithic", "parallel"];

/// The terms of a comparison, and what they mean.
pub const DEFINITIONS: [(&str, &str); 3] = [
    (
        "monolithic",
        "Monolithic is one environment that gets one call per batch, one after the other.",
    ),
    (
        "parallel",
        "Parallel is one environment per batch, up to the concurrency, with the same calls.",
    ),
    (
        "efficiency",
        "Efficiency is how many times as fast the parallel run is, divided by its functions at a time.",
    ),
];

impl ComparisonReport {
    pub(crate) fn page(&self) -> Page<'_> {
        let baseline = self.comparison.paper_baseline.as_ref();
        let mut sections = vec![self.figures_section(), self.claim()];
        sections.extend(self.costs());
        sections.extend(baseline.map(paper_baseline));
        let command = [Block::Command(self.comparison.command.clone())];
        sections.push(self.about());
        sections.push(Section::new("again", "How to repeat it", None, command));
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
            "{} of {}, processed by one environment (monolithic) and by one environment per batch, at most {} at a time \
             (parallel), on {}. {source}",
            plural(c.records, "record", "records"),
            c.inputs.join(", "),
            count(c.concurrency),
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
        if self.rows.is_empty() {
            return Vec::new();
        }
        let rows = || self.rows.iter();
        let sizes = plural(self.rows.len() as u64, "batch size", "batch sizes");
        let most = rows().map(|row| row.peak_functions).max().unwrap_or(0);
        let costs = rows().flat_map(|row| [row.monolithic_usd, row.parallel_usd]);
        let cost = match rows().any(|row| row.cost_change.is_some()) {
            true => tile(
                "Cost",
                self.cost_changes(),
                format!("{} per run", range(costs.flatten(), usd)),
            ),
            false => Tile {
                basis: None,
                ..tile("Cost", "–".into(), NO_PRICE.into())
            },
        };
        vec![
            tile(
                "Less time",
                self.reductions(),
                format!("parallel against monolithic, over {sizes}"),
            ),
            tile(
                "Monolithic",
                range(rows().map(|row| row.monolithic_seconds), duration),
                "one environment".into(),
            ),
            tile(
                "Parallel",
                range(rows().map(|row| row.parallel_seconds), duration),
                format!("at most {} environments", count(most)),
            ),
            cost,
        ]
    }

    /// What the figures are based on, as a note.
    pub(super) fn note(&self) -> String {
        let c = &self.comparison;
        let records = plural(c.records, "record", "records");
        match c.basis {
            Basis::Measured => format!("Measured: {records}, {}.", c.place),
            _ => format!(
                "Simulated: {records}, {}. Nothing ran on the platform.",
                c.place
            ),
        }
    }

    fn figures_section(&self) -> Section<'_> {
        let sizes: Vec<f64> = self.rows.iter().map(|row| row.batch_size as f64).collect();
        let line = |class, of: fn(&ComparisonRow) -> f64| Curve {
            class,
            points: sizes
                .iter()
                .copied()
                .zip(self.rows.iter().map(of))
                .collect(),
            is_connected: true,
            radius: 4.0,
        };
        let panel =
            |title, scale, format, [monolithic, parallel]: [fn(&ComparisonRow) -> f64; 2]| {
                let [one, other] = CLASSES;
                Panel {
                    title,
                    scale,
                    most: None,
                    format,
                    curves: vec![line(one, monolithic), line(other, parallel)],
                    has_values: true,
                    mark: None,
                }
            };
        let figure = |id, title: &str, caption: &str, panel: Panel| {
            let description = at_the_ends(&self.rows, &panel);
            let curves = Curves {
                x: X::Values {
                    values: sizes.clone(),
                    scale: Scale::Logarithmic,
                    title: "records in a batch (logarithmic scale)",
                },
                panels: vec![panel],
                mark: "",
            };
            Figure {
                id,
                title: title.into(),
                description,
                caption: caption.into(),
                legend: CLASSES.map(|class| (class, class.to_owned())).into(),
                plot: Box::new(move |frame| curves.draw(frame)),
                data: self.table(),
            }
        };
        let mut blocks = Vec::new();
        if !self.rows.is_empty() {
            let times = panel(
                "time (logarithmic scale)",
                Scale::Logarithmic,
                duration,
                [|row| row.monolithic_seconds, |row| row.parallel_seconds],
            );
            let caption = "From the start to the last receipt.";
            blocks.push(figure("time", "Time over batch size", caption, times).into());
        }
        let is_priced =
            |row: &ComparisonRow| row.monolithic_usd.is_some() && row.parallel_usd.is_some();
        if !self.rows.is_empty() && self.rows.iter().all(is_priced) {
            let costs = panel(
                "USD",
                Scale::Linear,
                usd,
                [
                    |row| row.monolithic_usd.unwrap_or(0.0),
                    |row| row.parallel_usd.unwrap_or(0.0),
                ],
            );
            let caption = "In US dollars, without free tiers, taxes and discounts.";
            blocks.push(figure("cost-over-size", "Cost over batch size", caption, costs).into());
        }
        let mut notes = vec![DEFINITIONS[2].1.to_owned()];
        if self.rows.is_empty() {
            notes.insert(0, "No batch size was compared.".into());
        }
        if let Some(whole) = self.rows.iter().find(|row| row.is_whole) {
            notes.push(format!(
                "Batches of {} and more are one batch of all records.",
                count(whole.batch_size)
            ));
        }
        blocks.push(Block::Table(self.table()));
        blocks.push(Block::List(notes));
        let (title, basis) = ("Time and cost over batch size", self.comparison.basis);
        Section::new("over-batch-size", title, Some(basis), blocks)
    }

    fn table(&self) -> Table {
        Table::of(
            "Both approaches by batch size",
            &self.rows,
            &[
                ("Batch size", ComparisonRow::size),
                ("#Monolithic", |row| duration(row.monolithic_seconds)),
                ("#Parallel", |row| duration(row.parallel_seconds)),
                ("#Less time", |row| percent(row.reduction)),
                ("#Monolithic cost", |row| maybe_usd(row.monolithic_usd)),
                ("#Parallel cost", |row| maybe_usd(row.parallel_usd)),
                ("#Change", |row| row.cost_change.map_or("–".into(), change)),
                ("#Per million records", |row| {
                    maybe_usd(row.parallel_usd_per_million_records)
                }),
                ("#Functions", |row| count(row.peak_functions)),
                ("#Efficiency", |row| percent(row.efficiency)),
                ("#Cold starts", |row| count(row.cold_starts)),
            ],
        )
    }

    fn claim(&self) -> Section<'_> {
        let (c, paper) = (&self.comparison, &self.paper);
        let each = |of: fn(&ComparisonRow) -> f64| self.rows.iter().map(of);
        let minutes = |[least, most]: [f64; 2]| format!("{least} to {most} min");
        let costs = self
            .rows
            .iter()
            .flat_map(|row| [row.monolithic_usd, row.parallel_usd]);
        let mut table = Table::new(
            "Compared with the paper, which used another model, other data and other functions",
            &["", "Paper", "Here"],
        );
        let mut fact = |name: &str, paper: String, here| table.push([name.into(), paper, here]);
        let [least, most] = paper.batch_sizes.map(count);
        let sizes = range(each(|row| row.batch_size as f64), |size| count(size as u64));
        fact("Batch sizes", format!("{least} to {most}"), sizes);
        let times = range(each(|row| row.monolithic_seconds), duration);
        fact("Monolithic", minutes(paper.monolithic_minutes), times);
        let times = range(each(|row| row.parallel_seconds), duration);
        fact("Parallel", minutes(paper.parallel_minutes), times);
        fact("Less time", "at least 95 %".into(), self.reductions());
        let [least, most] = paper.usd.map(usd);
        let costs = range(costs.flatten(), usd);
        fact(
            "Cost of either approach",
            format!("{least} to {most}"),
            costs,
        );
        fact("Change in cost", "within ±5 %".into(), self.cost_changes());
        let [monolithic, parallel, _] = DEFINITIONS.map(|(_, definition)| definition);
        let definitions = format!(
            "{monolithic} {parallel} The paper's monolithic runs take {least} to {most} minutes, more than the 15 minutes of one \
             call of Lambda, and its function processes padded batches with PyTorch.",
            least = paper.monolithic_minutes[0],
            most = paper.monolithic_minutes[1],
        );
        let text = format!(
            "The claim is at least 95 % less time at a cost within ±5 % of the monolithic run, if the platform provides the \
             functions ({}). {}",
            paper.source,
            self.verdict()
        );
        let blocks = [
            Block::Text(text),
            Block::Text(definitions),
            Block::Table(table),
        ];
        Section::new("claim", "The paper's claim", Some(c.basis), blocks)
    }

    /// Whether the claim holds.
    fn verdict(&self) -> String {
        let rows = self.rows.iter();
        let judged: Vec<bool> = rows.clone().filter_map(|row| row.is_as_claimed).collect();
        let as_claimed = judged.iter().filter(|&&is| is).count();
        let sizes = |of: usize| plural(of as u64, "batch size", "batch sizes");
        if judged.is_empty() {
            let saved = rows.filter(|row| row.reduction >= self.paper.reduction);
            let (saved, all) = (saved.count(), sizes(self.rows.len()));
            return format!("Nothing here has a price; {saved} of {all} save 95 % of the time.");
        }
        let mut verdict = format!("Here it holds at {as_claimed} of {}.", sizes(judged.len()));
        let most = rows.map(|row| row.peak_functions).max().unwrap_or(0);
        if as_claimed < judged.len() && most < 20 {
            verdict += &format!(
                " With {} at a time, at most {} of the time can be saved.",
                plural(most, "function", "functions"),
                percent(1.0 - 1.0 / most.max(1) as f64)
            );
        }
        verdict
    }

    fn costs(&self) -> Option<Section<'_>> {
        let best = self.fastest()?;
        let mut sizes = self.comparison.rows.iter();
        let size = sizes.find(|size| size.batch_size == best.batch_size)?;
        let approaches = [
            ("Monolithic", &size.monolithic),
            ("Parallel", &size.parallel),
        ];
        let table = |(name, approach): (&str, &Approach)| {
            let mut table = bill_table(approach.bill.as_ref()?);
            let prices = table.caption.replacen("Prices", "prices", 1);
            table.caption = format!("{name} at batch size {}: {prices}", count(size.batch_size));
            Some(Block::Table(table))
        };
        let blocks: Vec<Block<'_>> = approaches.into_iter().filter_map(table).collect();
        (!blocks.is_empty()).then_some(Section::new("cost", "Cost by item", None, blocks))
    }

    fn about(&self) -> Section<'_> {
        let c = &self.comparison;
        let mut table = Table::new("What was compared", &["", ""]);
        let mut fact = |name: &str, value: String| table.push([name.into(), value]);
        for input in &c.inputs {
            fact("Input", input.clone());
        }
        fact("Records", count(c.records));
        if c.unit != "rows" {
            fact(&capitalized(&c.unit), count(c.units));
        }
        fact("Function", c.function.clone());
        if !c.engine.is_empty() {
            fact("Engine", c.engine.clone());
        }
        fact("Backend", c.place.clone());
        fact("Concurrency", format!("at most {}", count(c.concurrency)));
        fact("Times", c.basis.to_string());
        let mut blocks = vec![Block::Table(table)];
        if !c.assumptions.is_empty() {
            blocks.push(Block::Text("What was assumed, not measured:".into()));
            blocks.push(Block::List(c.assumptions.clone()));
        }
        Section::new("about", "What was compared", None, blocks)
    }
}

/// A sentence on the smallest and the largest batch size of two curves.
fn at_the_ends(rows: &[ComparisonRow], panel: &Panel) -> String {
    let at = |at: &str, index: usize| {
        let values = panel.curves.iter().map(|curve| curve.points[index].1);
        let values: Vec<String> = values.map(panel.format).collect();
        let size = rows[index].size();
        format!(
            "{at} {size} records a batch {} monolithic, {} parallel",
            values[0], values[1]
        )
    };
    match rows.len() - 1 {
        0 => at("At", 0) + ".",
        last => format!("{}; {}.", at("At", 0), at("at", last)),
    }
}

fn maybe_usd(amount: Option<f64>) -> String {
    amount.map_or("–".into(), usd)
}

/// The paper's implementation compared with shoal.
fn paper_baseline(paper: &PaperBaseline) -> Section<'static> {
    let records = plural(paper.records, "record", "records");
    let size = count(paper.batch_size);
    let mut table = Table::new(
        format!("One thread on {records}, in padded batches of {size}"),
        &["", "#Paper's implementation", "#shoal", "#Ratio"],
    );
    let times = |theirs: f64, ours: f64| number(theirs / ours);
    table.push([
        "Time per record".into(),
        duration(paper.seconds_per_record),
        duration(paper.shoal_seconds_per_record),
        times(paper.seconds_per_record, paper.shoal_seconds_per_record),
    ]);
    table.push([
        "Cost of a million records".into(),
        usd(paper.usd_per_million),
        usd(paper.shoal_usd_per_million),
        times(paper.usd_per_million, paper.shoal_usd_per_million),
    ]);
    table.push([
        "Start of a process".into(),
        duration(paper.start_seconds),
        String::new(),
        String::new(),
    ]);
    let text = format!(
        "{}, measured here with the same model and records, at the price of the functions. Times are measured; costs are computed from them.",
        paper.runtime
    );
    let blocks = [Block::Text(text), Block::Table(table)];
    Section::new("paper-baseline", "The paper's implementation", None, blocks)
}
