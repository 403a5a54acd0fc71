//! What the report of a run shows.

mod facts;
mod figures;

pub use facts::engine;
#[cfg(test)]
mod tests;

use shoal_estimate::Basis;
use shoal_job::Determinism;

use crate::cost::bill_table;
use crate::numbers::{count, duration, number, plural, usd};
use crate::page::{Block, NO_PRICE, Page, Section, Table, Tile};
use crate::run::RunReport;

/// Labels whose scores are listed, at most.
const MOST_LABELS: usize = 200;

impl RunReport {
    pub(crate) fn page(&self) -> Page<'_> {
        let mut sections = vec![
            self.summary_section(),
            self.invocations_section(),
            self.over_time_section(),
            self.batch_times_section(),
        ];
        let optional = [
            self.cost_section(),
            self.accuracy_section(),
            self.dead_letters_section(),
        ];
        sections.extend(optional.into_iter().flatten());
        sections.push(self.repeat_section());
        Page {
            kind: "Run",
            title: self.run.clone(),
            lead: self.lead(),
            tiles: self.tiles(),
            sections,
        }
    }

    fn lead(&self) -> String {
        let s = &self.summary;
        let mut lead = format!(
            "{} in {} on {}",
            plural(s.records, "record", "records"),
            duration(s.wall_seconds),
            plural(s.environments, "environment", "environments"),
        );
        if let Some(start) = self.starts.last().filter(|start| !start.backend.is_empty()) {
            lead += &format!(" ({})", start.backend);
        }
        match self.starts.len() {
            0 | 1 => {}
            starts => lead += &format!(", in {} starts", count(starts as u64)),
        }
        if let Some(cost) = &self.cost {
            lead += &format!(", for {}", usd(cost.usd));
        }
        lead + ". Every number on this page was measured or counted, unless it says otherwise."
    }

    fn tiles(&self) -> Vec<Tile> {
        let s = &self.summary;
        let tile = |name, value, note| Tile {
            name,
            value,
            note,
            basis: None,
        };
        let note = match s.failed_records {
            0 => "all with a result".into(),
            failed => format!("{} in the dead letters", count(failed)),
        };
        let from_to = match self.pauses.as_slice() {
            [] => "from the first start to the end".into(),
            _ => format!("{} without pauses", duration(s.working_seconds)),
        };
        let mut tiles = vec![
            tile("Records", count(s.records), note),
            tile("Time", duration(s.wall_seconds), from_to),
        ];
        if let Some(rate) = s.records_per_second {
            let units = number(s.units_per_second.unwrap_or(0.0));
            let note = match s.unit.as_str() {
                "rows" => "on average".into(),
                unit => format!("{units} {unit}/s"),
            };
            tiles.push(tile("Records per second", number(rate), note));
        }
        let mean = number(s.mean_functions.unwrap_or(0.0));
        let note = format!("at most; {mean} on average");
        tiles.push(tile("Functions working", count(s.peak_functions), note));
        if let Some(spread) = &self.batch_seconds {
            let note = format!("p95 {}, p99 {}", duration(spread.p95), duration(spread.p99));
            tiles.push(tile("Median batch", duration(spread.p50), note));
        }
        tiles.push(match &self.cost {
            Some(cost) => Tile {
                name: "Cost",
                value: usd(cost.usd),
                note: match cost.usd_per_million_records {
                    Some(million) => format!("{} per million records", usd(million)),
                    None => format!("prices of {}", cost.bill.date),
                },
                basis: Some(cost.basis),
            },
            None => tile("Cost", "–".into(), NO_PRICE.into()),
        });
        tiles
    }

    fn cost_section(&self) -> Option<Section<'_>> {
        let cost = self.cost.as_ref()?;
        let text = "Without free tiers, taxes and discounts. The basis is that of the quantity; the confidence is that of the \
                    price.";
        let blocks = [
            Block::Table(bill_table(&cost.bill)),
            Block::Text(text.into()),
        ];
        Some(Section::new("cost", "Cost", Some(cost.basis), blocks))
    }

    fn accuracy_section(&self) -> Option<Section<'_>> {
        let mut blocks = Vec::new();
        if let Some(unknown) = &self.unknown_labels {
            let text = format!("{unknown}. These records are not part of the figures below.");
            blocks.push(Block::Text(text));
        }
        if let Some(accuracy) = &self.accuracy {
            blocks.push(Block::Text(format!(
                "{:.2} % of {} have the gold label ({}).",
                accuracy.share * 100.0,
                plural(accuracy.of, "record", "records"),
                count(accuracy.right)
            )));
            let table = |caption, mut rows: std::vec::IntoIter<Vec<String>>| {
                let header = rows.next().unwrap_or_default();
                let numbers = header.iter().skip(1).map(|name| format!("#{name}"));
                let names: Vec<_> = header.iter().take(1).cloned().chain(numbers).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Table {
                    rows: rows.collect(),
                    ..Table::new(caption, &names)
                }
            };
            let scores = accuracy.scores_table(MOST_LABELS).into_iter();
            let mut scores = table("Scores by label", scores);
            scores.total = scores.rows.pop();
            blocks.push(Block::Table(scores));
            if let Some(confusion) = accuracy.confusion_table() {
                let caption = "Records by gold label and label";
                blocks.push(Block::Table(table(caption, confusion.into_iter())));
            }
            let left = accuracy.labels.len().saturating_sub(MOST_LABELS);
            if left > 0 {
                let left = plural(left as u64, "label is", "labels are");
                blocks.push(Block::Text(format!(
                    "{left} in the JSON form of the report only."
                )));
            }
        }
        let is_empty = blocks.is_empty();
        let section = Section::new("accuracy", "Accuracy", Some(Basis::Measured), blocks);
        (!is_empty).then_some(section)
    }

    fn dead_letters_section(&self) -> Option<Section<'_>> {
        let blocks = self.dead_letters.blocks();
        let section = Section::new(
            "dead-letters",
            "Dead letters",
            Some(Basis::Measured),
            blocks,
        );
        (self.dead_letters.total > 0).then_some(section)
    }

    fn repeat_section(&self) -> Section<'_> {
        let reproducible = match self.job.determinism {
            Determinism::Exact => {
                "Within one version of shoal and on one instruction set, the same settings produce byte-identical output for every \
                 batch size, concurrency and backend."
            }
            _ => "The output may depend on how the records were grouped into batches.",
        };
        let command = Block::Command(self.command.clone());
        let blocks = [command, Block::Text(reproducible.into())];
        Section::new("repeat", "How to repeat it", None, blocks)
    }
}
