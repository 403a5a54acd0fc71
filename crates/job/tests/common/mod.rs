//! Plans files and reads all of their batches.

// Each test uses only some of these items.
#![allow(dead_code, unused_imports)]

mod function;
mod parts;

use std::path::{Path, PathBuf};

pub(crate) use function::function;
pub(crate) use parts::{FORMATS, job, read_columns, record, write};
use shoal_job::format::OutputFormat;
use shoal_job::input::Sources;
use shoal_job::plan::{Request, plan};
use shoal_job::spec::{Batch, Job, Parameters};
use shoal_job::{Cancel, Cell, Result, Row, RunDir};

/// A folder with inputs and a run directory.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

/// The parameters of a job that reads the column `text`.
pub(crate) fn parameters(batch_size: u64, kept: &[&str], format: OutputFormat) -> Parameters {
    Parameters {
        batch_size,
        columns: [("text".into(), "text".into())].into(),
        keep_columns: kept.iter().map(|name| (*name).to_owned()).collect(),
        output_format: format,
        ..Parameters::default()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Plans `inputs` in batches of `batch_size` in a new run directory.
    pub(crate) fn plan(&self, inputs: &[&Path], batch_size: u64) -> Result<(Job, RunDir)> {
        self.plan_with(inputs, batch_size, &[], OutputFormat::Csv)
    }

    fn plan_with(
        &self,
        inputs: &[&Path],
        batch_size: u64,
        kept: &[&str],
        format: OutputFormat,
    ) -> Result<(Job, RunDir)> {
        self.plan_as(inputs, parameters(batch_size, kept, format))
    }

    /// Plans `inputs` in a new run directory.
    fn plan_as(&self, inputs: &[&Path], parameters: Parameters) -> Result<(Job, RunDir)> {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let request = Request {
            inputs: &inputs,
            spool: None,
            function: function(),
            parameters,
            output: "-",
            version: "test",
            inputs_at: None,
        };
        let run_dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let run = RunDir::create(&run_dir).unwrap();
        let job = plan(&request, &run, &Cancel::new(), &mut |_| {})?;
        Ok((job, run))
    }

    /// Plans and reads `input` in batches of two, and counts its rows.
    pub(crate) fn count(&self, input: &Path, kept: &[&str]) -> Result<u64> {
        let (job, rows) = self.carry(&[input], kept, OutputFormat::Csv, 2)?;
        assert_eq!(rows.len() as u64, job.records);
        Ok(job.records)
    }

    /// Plans `inputs` for an output of `format`, and reads all rows.
    pub(crate) fn carry(
        &self,
        inputs: &[&Path],
        kept: &[&str],
        format: OutputFormat,
        batch_size: u64,
    ) -> Result<(Job, Vec<Row>)> {
        self.carry_as(inputs, parameters(batch_size, kept, format))
    }

    /// Plans `inputs`, and reads all rows.
    pub(crate) fn carry_as(
        &self,
        inputs: &[&Path],
        parameters: Parameters,
    ) -> Result<(Job, Vec<Row>)> {
        let (job, run) = self.plan_as(inputs, parameters)?;
        // The plan is what a function gets.
        assert_eq!(run.job()?.as_ref(), Some(&job));
        let sources = Sources::default();
        let mut rows = Vec::new();
        for batch in &run.batches(&job)? {
            for row in sources.rows(&job, &run, batch) {
                rows.push(row?);
            }
        }
        Ok((job, rows))
    }

    /// Plans and reads `input` in batches of seven, with the text and kept columns of these names.
    pub(crate) fn read_columns(
        &self,
        input: &Path,
        text: &str,
        kept: &[&str],
    ) -> Result<(Job, Vec<Row>)> {
        let parameters = Parameters {
            batch_size: 7,
            columns: [("text".into(), text.into())].into(),
            keep_columns: kept.iter().map(|name| (*name).to_owned()).collect(),
            ..Parameters::default()
        };
        let (job, run) = self.plan_as(&[input], parameters)?;
        let sources = Sources::default();
        let batches = run.batches(&job)?;
        let rows = batches
            .iter()
            .flat_map(|batch| sources.rows(&job, &run, batch));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        assert_eq!(rows.len() as u64, job.records);
        Ok((job, rows))
    }

    /// Plans `inputs` in batches of `batch_size`, checks the batch table, and reads the batches in reverse order, since no
    /// batch may depend on another.
    pub(crate) fn read(&self, inputs: &[&Path], batch_size: u64) -> (Job, Vec<Row>) {
        let planned = self.plan(inputs, batch_size).unwrap();
        Self::read_back(planned, batch_size)
    }

    /// As [`read`](Self::read), with these parameters. Fails if planning does.
    pub(crate) fn read_with(&self, input: &Path, parameters: Parameters) -> Result<Vec<Row>> {
        let batch_size = parameters.batch_size;
        let planned = self.plan_as(&[input], parameters)?;
        Ok(Self::read_back(planned, batch_size).1)
    }

    fn read_back((job, run): (Job, RunDir), batch_size: u64) -> (Job, Vec<Row>) {
        assert_eq!(run.job().unwrap().as_ref(), Some(&job));
        let batches = run.batches(&job).unwrap();
        check_table(&job, &batches, batch_size);
        let sources = Sources::default();
        let mut parts: Vec<Vec<Row>> = batches
            .iter()
            .rev()
            .map(|batch| {
                sources
                    .rows(&job, &run, batch)
                    .collect::<Result<_>>()
                    .unwrap_or_else(|e| panic!("batch {batch:?}: {e}"))
            })
            .collect();
        parts.reverse();
        for (part, batch) in parts.iter().zip(&batches) {
            assert_eq!(part.len() as u64, batch.records);
        }
        let all: Vec<_> = parts.into_iter().flatten().collect();
        for (number, row) in all.iter().enumerate() {
            assert_eq!(row.row, number as u64);
        }
        (job, all)
    }

    /// Reads 230 rows of one file and 70 of another in batches of many sizes.
    pub(crate) fn check_ranges(&self, first: &Path, second: &Path) {
        for batch_size in [1, 2, 7, 63, 64, 65, 100, 150, 230, 299, 300, 1_000_000] {
            let (job, found) = self.read(&[first, second], batch_size);
            assert_eq!(job.records, 300);
            check(&found, 300);
            let place = |row: usize| (found[row].source, found[row].place);
            assert_eq!((place(0), place(229)), ((0, 0), (0, 229)));
            assert_eq!((place(230), place(299)), ((1, 0), (1, 69)));
        }
    }
}

/// Checks that the rows have the ids from 0 to `count`, and their texts.
pub(crate) fn check(found: &[Row], count: i64) {
    assert_eq!(found.len() as i64, count);
    for (number, row) in (0..).zip(found) {
        let record = row.content.as_ref().unwrap();
        assert_eq!(record.id, Cell::Json(number.to_string()));
        assert_eq!(record.text(), format!("text {number}"));
    }
}

fn check_table(job: &Job, batches: &[Batch], batch_size: u64) {
    assert_eq!(batches.len() as u64, job.batches);
    let mut row = 0;
    for (index, batch) in batches.iter().enumerate() {
        assert_eq!(batch.index, index as u64);
        let is_last = index + 1 == batches.len();
        assert!(batch.records == batch_size || (is_last && batch.records < batch_size));
        assert_eq!(
            batch.records,
            batch.slices.iter().map(|slice| slice.records).sum::<u64>()
        );
        for slice in &batch.slices {
            assert_eq!(slice.row, row);
            row += slice.records;
        }
    }
    assert_eq!(row, job.records);
}
