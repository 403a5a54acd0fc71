//! What the report of a comparison shows.

use shoal_estimate::{Approach, Basis, PaperBaseline};

use crate::comparison::{ComparisonReport, ComparisonRow};
use crate::cost::bill_table;
use crate::numbers::{capitalized, change, count, duration, number, percent, plural, usd};
use crate::page::{Block, Figure, NO_PRICE, Page, Section, Table, Tile};
use crate::plot::{CLASSES, Lines};

impl ComparisonReport {
    pub(crate) fn page(&self) -> Page<'_> {
        let baseline = self.comparison.paper_baseline.as_ref();
        let mut sections = vec![self.figures(), self.claim()];
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
            "{} of {}, processed by one function for all batches in turn and by one function per batch, at most {} at a time ({}). {source}",
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
        let Some(best) = self.fastest() else {
            return Vec::new();
        };
        let at = format!("at batch size {}", count(best.batch_size));
        let fastest = format!("{at}, the fastest");
        let functions = format!("at most {} functions at a time", count(best.peak_functions));
        let cost = match best.cost_change {
            Some(share) => {
                let [one, other] = [best.monolithic_usd, best.parallel_usd].map(maybe_usd);
                tile("Cost", change(share), format!("{one} and {other}"))
            }
            None => Tile {
                basis: None,
                ..tile("Cost", "–".into(), NO_PRICE.into())
            },
        };
        vec![
            tile("Monolithic", duration(best.monolithic_seconds), at),
            tile("Parallel", duration(best.parallel_seconds), fastest),
            tile("Less time", percent(best.reduction), functions),
            cost,
        ]
    }

    fn figures(&self) -> Section<'_> {
        let sizes: Vec<u64> = self.rows.iter().map(|row| row.batch_size).collect();
        let line = |of: fn(&ComparisonRow) -> f64| self.rows.iter().map(of).collect();
        let figure = |id, title: &str, caption: &str, lines: Lines| Figure {
            id,
            title: title.into(),
            description: lines.at_the_ends(),
            caption: caption.into(),
            legend: CLASSES.map(|class| (class, class.to_owned())).into(),
            plot: Box::new(move |frame| lines.draw(frame)),
            data: self.table(),
        };
        let times = Lines {
            title: "time (logarithmic scale)",
            batch_sizes: sizes.clone(),
            lines: [
                line(|row| row.monolithic_seconds),
                line(|row| row.parallel_seconds),
            ],
            is_logarithmic: true,
            format: duration,
        };
        let caption = "From the start to the last receipt.";
        let mut blocks = vec![figure("time", "Time over batch size", caption, times).into()];
        let is_priced =
            |row: &ComparisonRow| row.monolithic_usd.is_some() && row.parallel_usd.is_some();
        if !self.rows.is_empty() && self.rows.iter().all(is_priced) {
            let costs = Lines {
                title: "USD",
                batch_sizes: sizes,
                lines: [
                    line(|row| row.monolithic_usd.unwrap_or(0.0)),
                    line(|row| row.parallel_usd.unwrap_or(0.0)),
                ],
                is_logarithmic: false,
                format: usd,
            };
            let caption = "In US dollars, without free tiers, taxes and discounts.";
            let title = "Cost over batch size";
            blocks.push(figure("cost-over-size", title, caption, costs).into());
        }
        blocks.push(Block::Table(self.table()));
        let (title, basis) = ("Time and cost over batch size", self.comparison.basis);
        Section::new("over-batch-size", title, Some(basis), blocks)
    }

    fn table(&self) -> Table {
        Table::of(
            "Both approaches by batch size",
            &self.rows,
            &[
                ("Batch size", |row| count(row.batch_size)),
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
        let range = |values: Vec<f64>, format: fn(f64) -> String| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            match (format(least), format(most)) {
                _ if values.is_empty() => "–".into(),
                (least, most) if least == most => least,
                (least, most) => format!("{least} to {most}"),
            }
        };
        let each = |of: fn(&ComparisonRow) -> f64| self.rows.iter().map(of).collect();
        let minutes = |[least, most]: [f64; 2]| format!("{least} to {most} min");
        let costs = self
            .rows
            .iter()
            .flat_map(|row| [row.monolithic_usd, row.parallel_usd]);
        let changes = self.rows.iter().filter_map(|row| row.cost_change);
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
        let saved = range(each(|row| row.reduction), percent);
        fact("Less time", "at least 95 %".into(), saved);
        let [least, most] = paper.usd.map(usd);
        let costs = range(costs.flatten().collect(), usd);
        fact(
            "Cost of either approach",
            format!("{least} to {most}"),
            costs,
        );
        let changes = range(changes.collect(), change);
        fact("Change in cost", "within ±5 %".into(), changes);
        let text = format!(
            "The claim is at least 95 % less time at a cost within ±5 % of the monolithic run, if the platform provides the \
             functions ({}). {}",
            paper.source,
            self.verdict()
        );
        let blocks = [Block::Text(text), Block::Table(table)];
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
