//! What the report of a plan shows.

use shoal_estimate::{Basis, BreakEven, Estimate};

use super::figures::candidates;
use super::{PlanReport, describe};
use crate::cost::bill_table;
use crate::numbers::{capitalized, count, duration, number, percent, plural, usd};
use crate::page::{Block, Page, Section, Table, Tile};

impl PlanReport<'_> {
    pub(crate) fn page(&self) -> Page<'_> {
        let mut sections = vec![self.choice(), self.over()];
        sections.extend(self.machines());
        sections.push(self.candidates());
        sections.push(self.basis());
        let command = [Block::Command(self.plan.command.clone())];
        sections.push(Section::new("again", "How to repeat it", None, command));
        Page {
            kind: "Plan",
            title: self.plan.inputs.join(", "),
            lead: self.lead(),
            tiles: self.tiles(),
            sections,
        }
    }

    fn lead(&self) -> String {
        let plan = self.plan;
        let chosen = match plan.chosen() {
            Some(chosen) => format!("{}: {}", describe(chosen), plan.choice.why),
            None => format!("Nothing fits: {}", plan.choice.why),
        };
        format!(
            "{}. Times and costs are predicted: they were computed from measurements of {}, and nothing ran.",
            capitalized(&chosen),
            plural(plan.calibrations[0].records, "record", "records"),
        )
    }

    fn tiles(&self) -> Vec<Tile> {
        let plan = self.plan;
        let tile = |name, value, note, basis| Tile {
            name,
            value,
            note,
            basis: Some(basis),
        };
        let mut tiles = Vec::new();
        if let Some(chosen) = plan.chosen() {
            let million = chosen.usd() / plan.workload.records.max(1) as f64 * 1e6;
            tiles.extend([
                tile(
                    "Time",
                    duration(chosen.seconds),
                    chosen.place.clone(),
                    Basis::Predicted,
                ),
                tile(
                    "Cost",
                    usd(chosen.usd()),
                    format!("{} per million records", usd(million)),
                    Basis::Predicted,
                ),
            ]);
        }
        tiles.extend([
            tile(
                "Records",
                count(plan.workload.records),
                format!("{} tokens", count(plan.tokens as u64)),
                match plan.workload.is_whole() {
                    true => Basis::Measured,
                    false => Basis::Predicted,
                },
            ),
            tile(
                "Work",
                duration(plan.work.seconds),
                format!("of one core, ± {}", percent(plan.work_error().max(0.001))),
                Basis::Predicted,
            ),
        ]);
        tiles
    }

    fn choice(&self) -> Section<'_> {
        let plan = self.plan;
        let mut blocks = Vec::new();
        blocks.extend(self.time_and_cost().map(Block::from));
        if let Some(chosen) = plan.chosen() {
            if let Some([shortest, longest]) = plan.cold_starts {
                blocks.push(Block::Text(format!(
                    "The choice has {}. If each takes {} to {} instead, the run takes {} to {} and costs {} to {}.",
                    plural(chosen.cold_starts, "cold start", "cold starts"),
                    duration(shortest.cold.seconds()),
                    duration(longest.cold.seconds()),
                    duration(shortest.seconds),
                    duration(longest.seconds),
                    usd(shortest.usd),
                    usd(longest.usd),
                )));
            }
            if !chosen.bill.items.is_empty() {
                blocks.push(Block::Table(bill_table(&chosen.bill)));
            }
        }
        Section::new("choice", "The choice", Some(Basis::Predicted), blocks)
    }

    fn over(&self) -> Section<'_> {
        let figures = [self.over_batch_size(), self.over_memory()];
        let figures = figures.into_iter().flatten().map(Block::from);
        let title = "Over batch size and memory";
        let figures: Vec<Block<'_>> = figures.collect();
        Section::new("over", title, Some(Basis::Predicted), figures)
    }

    fn candidates(&self) -> Section<'_> {
        let plan = self.plan;
        let optimal = plan.pareto.iter().map(|&index| &plan.estimates[index]);
        let mut blocks = vec![Block::Table(candidates(
            "Candidates that no other one beats in both time and cost",
            optimal,
        ))];
        let mut possible: Vec<&Estimate> = self.possible().collect();
        possible.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let all = format!("All {} candidates", count(possible.len() as u64));
        blocks.push(Block::Folded(
            all,
            candidates("All candidates by time", possible.into_iter()),
        ));
        let mut table = Table::new(
            "Candidates that exceed a limit of their platform",
            &["Candidate", "Limit"],
        );
        for estimate in &plan.estimates {
            if !estimate.broken.is_empty() {
                table.push([describe(estimate), estimate.broken.join("; ")]);
            }
        }
        if !table.rows.is_empty() {
            let title = plural(table.rows.len() as u64, "exceeds", "exceed");
            blocks.push(Block::Folded(format!("{title} a limit"), table));
        }
        Section::new("candidates", "Candidates", Some(Basis::Predicted), blocks)
    }

    fn machines(&self) -> Option<Section<'_>> {
        if self.plan.break_even.is_empty() {
            return None;
        }
        let table = Table::of(
            "Rented machines compared with functions",
            &self.plan.break_even,
            &[
                ("Machine", |even| even.machine.clone()),
                ("#Time", |even| duration(even.machine_seconds)),
                ("#Cost", |even| usd(even.machine_usd)),
                ("#Time of functions", |even| {
                    duration(even.functions_seconds)
                }),
                ("#Cost of functions", |even| usd(even.functions_usd)),
                ("Cheaper than functions", cheaper_from),
            ],
        );
        let basis = Some(Basis::Predicted);
        let blocks = [Block::Table(table)];
        Some(Section::new("machines", "Rented machines", basis, blocks))
    }

    fn basis(&self) -> Section<'_> {
        let plan = self.plan;
        let mut table = Table::of(
            "Calibrations",
            &plan.calibrations,
            &[
                ("Architecture", |one| one.architecture.to_string()),
                ("CPU", |one| one.machine.clone()),
                ("Instruction set", |one| one.isa.name().to_owned()),
                ("#Timed records", |one| count(one.records)),
                ("#Spread", |one| percent(one.spread)),
                ("#Records/s", |one| match one.points.last() {
                    Some(point) if point.seconds > 0.0 => {
                        let rate = 1.0 / one.record_seconds(point.tokens);
                        format!("{} of {} tokens", number(rate), count(point.tokens.into()))
                    }
                    _ => "–".into(),
                }),
            ],
        );
        table.caption = format!("{} in {}, measured", plan.model, plan.precision);
        let prices = format!(
            "Prices are those of {} in {}, without free tiers, taxes and discounts. Assumed, not measured:",
            plan.prices_date, plan.region
        );
        let blocks = [
            Block::Table(table),
            Block::Text(prices),
            Block::List(
                plan.assumptions
                    .iter()
                    .map(|one| capitalized(one) + ".")
                    .collect(),
            ),
        ];
        Section::new("basis", "What the numbers are based on", None, blocks)
    }
}

fn cheaper_from(even: &BreakEven) -> String {
    match even.cheaper_from_records {
        Some(records) => format!("from {} such records on", count(records.ceil() as u64)),
        None => "never".into(),
    }
}
