//! Planning: reads the input once, locates its records and splits them into batches.

use crate::dialect::Encoding;
use crate::format::Format;
use crate::function_spec::Difference;
use crate::input::{
    Found, Head, Kind, Resolver, Span, Spool, check_options, digest_of, locate, read_head,
};
use crate::run_dir::TableWriter;
use crate::spec::{Batch, Identity, Job, LAYOUT_VERSION, MAX_BATCHES, Parameters, Slice, Source};
use crate::store::{Location, ObjectWriter};
use crate::{Cancel, Error, FunctionSpec, Result, RunDir, writers};

/// A request to plan a job.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Paths, folders, globs, URLs and `-`.
    pub inputs: &'a [String],
    /// The copy of standard input, if it is among the inputs.
    pub spool: Option<&'a Spool>,
    /// The function that will process the records.
    pub function: FunctionSpec,
    /// The parameters.
    pub parameters: Parameters,
    /// The output, which a run that is resumed by name writes again.
    pub output: &'a str,
    /// Version of shoal.
    pub version: &'a str,
    /// The URL of a prefix for copies of local inputs that runs share, for functions on other machines. Without one, a run
    /// in a store has its own copies.
    pub inputs_at: Option<&'a str>,
}

/// Reads the input once, splits it into batches and writes the plan into the run directory, which must not contain one.
///
/// Inputs that cannot be read again in ranges (compressed files, standard input, text folders, Parquet and Arrow of
/// object stores) are staged on the way, and so are all local inputs of a run directory in a store. Memory does not grow
/// with the input: batches are written immediately, and [read back](RunDir::table) when needed. `progress` is called with
/// the number of records from time to time.
///
/// # Errors
/// The input cannot be read or lacks a column, the output format does not support the function's columns, or the run
/// directory cannot be written.
pub fn plan(
    request: &Request<'_>,
    run: &RunDir,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Job> {
    cut(request, run, cancel, progress)?.save(run)
}

/// An unsaved plan. Only staged inputs are in the run directory.
pub struct Cut {
    job: Job,
    table: TableWriter,
}

impl Cut {
    /// The planned job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Writes the plan into the run directory.
    ///
    /// # Errors
    /// The run directory cannot be written, or another command has saved a different plan in it.
    pub fn save(self, run: &RunDir) -> Result<Job> {
        run.save_plan(&self.job, self.table)?;
        Ok(self.job)
    }
}

/// The first half of [`plan`].
///
/// # Errors
/// As [`plan`].
pub fn cut(
    request: &Request<'_>,
    run: &RunDir,
    cancel: &Cancel,
    progress: &mut dyn FnMut(u64),
) -> Result<Cut> {
    let parameters = &request.parameters;
    if parameters.batch_size == 0 {
        return Err(Error::Parameter("the batch size must be at least 1".into()));
    }
    writers::check(parameters.output_format, &request.function.output)?;
    let found = locate(request.inputs, parameters.input_format, request.spool)?;
    check_options(&found, parameters)?;
    let mut planner = Planner {
        run,
        spool: request.spool,
        inputs_at: request.inputs_at,
        is_typed: parameters.output_format.is_columnar(),
        parameters,
        columns: Resolver::new(&request.function, parameters),
        cutter: Cutter {
            size: parameters.batch_size,
            table: run.table_writer(),
            batch: Batch::default(),
            rows: 0,
            cancel,
            progress,
        },
    };
    let sources = found
        .iter()
        .enumerate()
        .map(|(index, found)| planner.source(index as u32, found))
        .collect::<Result<Vec<_>>>()?;
    let Planner {
        columns, cutter, ..
    } = planner;
    let columns = columns.finish(&request.inputs.join(", "))?;
    let rows = cutter.rows;
    let (table, batches) = cutter.finish()?;
    let job = Job {
        layout: LAYOUT_VERSION,
        shoal: request.version.to_owned(),
        inputs: request.inputs.to_vec(),
        sources,
        function: request.function.clone(),
        parameters: parameters.clone(),
        output: request.output.to_owned(),
        columns,
        records: rows,
        batches,
    };
    Ok(Cut { job, table })
}

/// Checks that a planned job matches `request` and that its sources are unchanged.
///
/// # Errors
/// A [`Conflict`](Error::Conflict) that lists all differences.
pub fn check_same(job: &Job, request: &Request<'_>, run: &RunDir) -> Result<()> {
    let mut reasons = Vec::new();
    if job.shoal != request.version {
        reasons.push(format!(
            "it was planned by shoal {}, this is {}",
            job.shoal, request.version
        ));
    }
    let mut differences = request.function.differences(&job.function);
    differences.extend(request.parameters.differences(&job.parameters));
    reasons.extend(differences.iter().map(Difference::to_string));
    let found = locate(
        request.inputs,
        request.parameters.input_format,
        request.spool,
    )?;
    let now: Vec<_> = found.iter().map(|found| found.uri.as_str()).collect();
    let then: Vec<_> = job
        .sources
        .iter()
        .map(|source| source.uri.as_str())
        .collect();
    if now == then {
        for (source, found) in job.sources.iter().zip(&found) {
            if let Some(change) = source_change(source, found, request.spool)? {
                reasons.push(format!("input {} changed: {change}", source.uri));
            }
        }
    } else {
        reasons.push(format!("its input was {}, is {}", list(&then), list(&now)));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict {
        run: run.name(),
        reason: format!(
            "{}; undo the change to resume it, or start over, which discards its {} finished batches",
            reasons.join("; "),
            run.receipts()?.finished_batches()
        ),
        parameters: differences
            .into_iter()
            .filter_map(|difference| difference.parameter)
            .collect(),
    })
}

fn list(uris: &[&str]) -> String {
    match uris {
        [first, .., last] if uris.len() > 3 => format!("{} files {first} … {last}", uris.len()),
        uris => uris.join(", "),
    }
}

fn source_change(source: &Source, found: &Found, spool: Option<&Spool>) -> Result<Option<String>> {
    if found.spooled {
        let digest = spool.map(|spool| spool.digest.as_str());
        return Ok((source.identity.digest.as_deref() != digest)
            .then(|| "its content is different".into()));
    }
    source.identity.change(&found.location)
}

struct Planner<'a> {
    run: &'a RunDir,
    spool: Option<&'a Spool>,
    inputs_at: Option<&'a str>,
    /// Whether the output has typed columns, for which JSON is parsed.
    is_typed: bool,
    parameters: &'a Parameters,
    columns: Resolver<'a>,
    cutter: Cutter<'a>,
}

impl Planner<'_> {
    fn source(&mut self, index: u32, found: &Found) -> Result<Source> {
        // Before the content is read, so that a change in between is detected later.
        let identity = Identity::of(&found.location)?;
        let mut source = Source {
            uri: found.uri.clone(),
            format: found.format,
            identity,
            staged: None,
            header: None,
            dialect: None,
            encoding: None,
            notes: found.notes.clone(),
            partitions: Vec::new(),
        };
        match Kind::of(found.format) {
            Kind::Text(format) => {
                let mut stream = format.open(found, self.parameters.encoding)?;
                source.encoding = match found.format {
                    Format::TextFolder => self.parameters.encoding,
                    _ => stream.encoding(),
                };
                let staged = self.staged(index, found, stream.encoding())?;
                source.staged = staged.as_ref().map(|staged| staged.name.clone());
                if let Some(writer) = staged.and_then(Staged::writer) {
                    stream.stage(writer)?;
                }
                let mut head = read_head(
                    format,
                    found,
                    &mut stream,
                    self.parameters,
                    &mut self.columns,
                )?;
                source.header = head.header.take();
                source.dialect = head.dialect;
                source.notes.append(&mut head.notes);
                source.partitions = head.schema.take().unwrap_or_default().partitions();
                let typed = self.columns.get().filter(|_| self.is_typed);
                let cutter = &mut self.cutter;
                format.scan(&mut stream, &head, typed, &mut |span| {
                    cutter.push(index, span)
                })?;
                source.notes.extend(stream.note());
                let digest = stream.finish()?;
                // A folder is identified by its files.
                if found.format != Format::TextFolder {
                    source.identity.digest = Some(digest);
                }
            }
            Kind::Columnar(_) if source.identity.bytes == 0 => {
                source.notes.append(&mut Head::empty().notes);
            }
            Kind::Columnar(format) => {
                let staged = self.staged(index, found, None)?;
                source.staged = staged.as_ref().map(|staged| staged.name.clone());
                // Read a local file rather than its copy in the store.
                let mut here = found.location.clone();
                if let Some(staged) = staged {
                    if matches!(here, Location::Remote(_)) {
                        here = staged.location.clone();
                    }
                    if let Some(writer) = staged.writer() {
                        copy(found, writer)?;
                    }
                }
                let (mut schema, rows) = format.head(&here)?;
                schema.add_partitions(&found.partitions);
                self.columns.add(&schema, &found.uri)?;
                source.partitions = schema.partitions();
                self.cutter.push_rows(index, rows)?;
                source.identity.digest = match here {
                    Location::Local(_) => Some(self.digest(found, &here)?),
                    // The ETag detects changes.
                    Location::Remote(_) => None,
                };
            }
        }
        Ok(source)
    }

    /// The digest of `found`, whose content is at `location`.
    fn digest(&self, found: &Found, location: &Location) -> Result<String> {
        match self.spool {
            Some(spool) if found.spooled => Ok(spool.digest.clone()),
            _ => digest_of(location),
        }
    }

    /// The uncompressed copy in UTF-8, if functions cannot read the source itself.
    fn staged(
        &self,
        index: u32,
        found: &Found,
        encoding: Option<Encoding>,
    ) -> Result<Option<Staged>> {
        let is_local = matches!(found.location, Location::Local(_));
        let is_here = self.run.folder().is_some();
        let needs_copy = found.spooled
            || found.is_compressed()
            || encoding.is_some()
            || found.format == Format::TextFolder
            // Local functions read columns faster from this disk.
            || (!is_local && is_here && found.format.is_columnar())
            // Remote functions cannot read local files.
            || (is_local && !is_here);
        if !needs_copy {
            return Ok(None);
        }
        let extension = match found.format {
            Format::TextFolder => Format::Jsonl.name(),
            other => other.name(),
        };
        if let Some(prefix) = self.inputs_at
            && is_local
            && found.format != Format::TextFolder
        {
            let digest = self.digest(found, &found.location)?;
            let encoding = encoding.map_or_else(String::new, |encoding| {
                format!(".{}", encoding.name().to_ascii_lowercase())
            });
            let prefix = prefix.trim_end_matches('/');
            let name = format!("{prefix}/{digest}{encoding}.{extension}");
            let location = Location::parse(&name)?;
            let exists = match &location {
                Location::Remote(object) => object.exists()?,
                Location::Local(path) => path.exists(),
            };
            return Ok(Some(Staged {
                name,
                location,
                exists,
            }));
        }
        let name = format!("input/{index:04}.{extension}");
        Ok(Some(Staged {
            location: self.run.location(&name),
            name,
            exists: false,
        }))
    }
}

/// The uncompressed copy of a source.
struct Staged {
    /// Its name in the run directory, or its URL.
    name: String,
    location: Location,
    /// Whether another run of the same input has made it.
    exists: bool,
}

impl Staged {
    fn writer(self) -> Option<ObjectWriter> {
        (!self.exists).then(|| self.location.writer())
    }
}

fn copy(found: &Found, mut writer: ObjectWriter) -> Result<()> {
    let failed = |e| Error::storage("stage", &found.uri, e);
    std::io::copy(&mut found.location.open(None)?, &mut writer).map_err(failed)?;
    writer.finish().map_err(failed)
}

/// Splits records into batches of `size`.
struct Cutter<'a> {
    size: u64,
    table: TableWriter,
    /// The current batch.
    batch: Batch,
    rows: u64,
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(u64),
}

impl Cutter<'_> {
    /// The batch of the next record.
    fn batch(&mut self) -> Result<&mut Batch> {
        if self.batch.records == self.size {
            let index = self.batch.index + 1;
            if index == MAX_BATCHES {
                return Err(Error::Parameter(format!(
                    "failed to split the input: batches of {} make more than {MAX_BATCHES} batches; use larger ones",
                    self.size
                )));
            }
            self.table.push(&self.batch)?;
            self.batch = Batch {
                index,
                ..Batch::default()
            };
        }
        Ok(&mut self.batch)
    }

    /// The batch table and the number of batches.
    fn finish(mut self) -> Result<(TableWriter, u64)> {
        if self.batch.records == 0 {
            return Ok((self.table, self.batch.index));
        }
        self.table.push(&self.batch)?;
        Ok((self.table, self.batch.index + 1))
    }

    fn push(&mut self, source: u32, span: Span) -> Result<()> {
        let row = self.rows;
        let batch = self.batch()?;
        batch.records += 1;
        match batch.slices.last_mut() {
            Some(slice)
                if slice.source == source
                    && slice.end == span.start
                    && slice.fault.is_none()
                    && span.fault.is_none() =>
            {
                slice.end = span.end;
                slice.records += 1;
            }
            _ => batch.slices.push(Slice {
                source,
                start: span.start,
                end: span.end,
                row,
                line: span.line,
                records: 1,
                fault: span.fault,
            }),
        }
        self.rows += 1;
        if self.rows.is_multiple_of(10_000) {
            (self.progress)(self.rows);
        }
        if self.cancel.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    fn push_rows(&mut self, source: u32, rows: u64) -> Result<()> {
        if self.rows.checked_add(rows).is_none() {
            return Err(Error::Parameter(
                "failed to split the input: its files claim more rows than can be counted".into(),
            ));
        }
        let mut start = 0;
        while start < rows {
            let (size, row) = (self.size, self.rows);
            let batch = self.batch()?;
            let records = (rows - start).min(size - batch.records);
            batch.records += records;
            let end = start + records;
            batch.slices.push(Slice {
                source,
                start,
                end,
                row,
                line: 0,
                records,
                fault: None,
            });
            self.rows += records;
            start = end;
        }
        (self.progress)(self.rows);
        Ok(())
    }
}
