//! Joins the parts into the output, which appears under its name complete or not at all.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::format::OutputFormat;
use crate::part::{self, csv_header, schema};
use crate::run_dir::FAILED;
use crate::spec::Job;
use crate::terminal::Terminal;
use crate::wire::{BatchRange, Stored};
use crate::writers::{ColumnarFile, WriteError};
use crate::{CompletedRanges, Error, Event, Receipts, Result, RunDir, file_name};

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// One ordered file.
    File(PathBuf),
    /// A folder of parts.
    Folder(PathBuf),
}

impl Destination {
    /// Parses `-`, a file, or a folder (an existing one, or a name with a slash at its end), and chooses the format.
    ///
    /// # Errors
    /// The format cannot be determined, or contradicts the extension.
    pub fn parse(text: &str, format: Option<OutputFormat>) -> Result<(Self, OutputFormat)> {
        let need = |what: &str| {
            Error::Parameter(format!(
                "failed to determine the output format: {what}; choose csv, jsonl, parquet or arrow"
            ))
            .adjustable("format")
        };
        if text == "-" {
            return Ok((Self::Stdout, format.unwrap_or(OutputFormat::Jsonl)));
        }
        if text.is_empty() {
            return Err(Error::Parameter(
                "failed to use the output: its name is empty".into(),
            ));
        }
        if crate::store::is_url(text) {
            return Err(Error::Parameter(format!(
                "failed to use output {text}: only local outputs are supported"
            )));
        }
        let path = std::path::absolute(text).map_err(|e| Error::storage("find", text, e))?;
        file_name::text(&path)?;
        if text.ends_with(['/', std::path::MAIN_SEPARATOR]) || path.is_dir() {
            let format = format.ok_or_else(|| need("the output is a folder"))?;
            // `components` drops the slash at the end.
            return Ok((Self::Folder(path.components().collect()), format));
        }
        let by_name = path
            .extension()
            .and_then(|e| OutputFormat::of_extension(&e.to_string_lossy()));
        match (format, by_name) {
            (Some(format), Some(by_name)) if format != by_name => Err(Error::Parameter(format!(
                "failed to choose the output format: {} was requested, but the name {text} ends in that of {}",
                format.extension(),
                by_name.extension()
            ))
            .adjustable("format")),
            (Some(format), _) | (None, Some(format)) => Ok((Self::File(path), format)),
            (None, None) => Err(need(&format!(
                "the name {text} does not end in .csv, .jsonl, .parquet or .arrow"
            ))),
        }
    }

    /// Checks that the output can be written, before any work is done.
    ///
    /// # Errors
    /// The output cannot be written, or would replace something that shoal did not write.
    pub fn check(&self, run_name: &str) -> Result<()> {
        let path = match self {
            Self::Stdout => return Ok(()),
            Self::File(path) => {
                // The output replaces the file; a device or pipe must not be replaced.
                if path.metadata().is_ok_and(|there| !there.is_file()) {
                    return Err(Error::Parameter(format!(
                        "failed to use output {}: it is a device or a pipe, not a file; `-` writes to standard output",
                        path.display()
                    )));
                }
                target(path)
            }
            Self::Folder(path) => {
                check_replaceable(path)?;
                target(path)
            }
        };
        let temporary = temporary(&path, run_name);
        let failed = Error::file("write the output", &path);
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            let reason = format!("there is no folder {}", parent.display());
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, reason)));
        }
        if matches!(self, Self::Folder(_)) {
            // A killed run may have left a folder of this name.
            remove_folder(&temporary).map_err(failed)?;
            std::fs::create_dir(&temporary).map_err(failed)?;
            return std::fs::remove_dir(&temporary).map_err(failed);
        }
        File::create(&temporary).map_err(failed)?;
        std::fs::remove_file(&temporary).map_err(failed)
    }

    /// The output as messages show it.
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "-".into(),
            Self::File(path) => path.display().to_string(),
            Self::Folder(path) => format!("{}/", path.display()),
        }
    }
}

/// The path that is replaced. A symbolic link is kept and its target, which may be missing, replaced.
fn target(path: &Path) -> PathBuf {
    /// As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match path.read_link() {
            Ok(target) => path = path.parent().unwrap_or(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

/// Where the output is written before it is renamed: in the same folder, so that renaming is atomic, and named after the
/// run, so that two runs do not collide.
fn temporary(path: &Path, run_name: &str) -> PathBuf {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.{run_name}.tmp"))
}

/// Gives `new` the permissions of the file at `old` that it will replace, and its owner and group as far as the system
/// allows it.
fn keep_access(old: &Path, new: &File) -> io::Result<()> {
    let Ok(old) = old.metadata() else {
        return Ok(());
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        // Each on its own: only root may change the owner, a member the group. This precedes the mode, whose special bits
        // it clears.
        let _ = fchown(new, Some(old.uid()), None);
        let _ = fchown(new, None, Some(old.gid()));
    }
    new.set_permissions(old.permissions())
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Checks that the folder is missing, empty, or written by shoal.
fn check_replaceable(path: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::file("write the output", path))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::file("list", path))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_part = name
            .strip_prefix("part-")
            .and_then(|rest| rest.split_once('.'))
            .is_some_and(|(number, extension)| {
                number.bytes().all(|b| b.is_ascii_digit())
                    && OutputFormat::of_extension(extension).is_some()
            });
        if !is_part {
            return Err(Error::Parameter(format!(
                "failed to use output {}: the folder contains {name}, which shoal did not write; choose an empty or new folder",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The ranges of receipts that do not match the stored part or dead letters.
///
/// # Errors
/// The run directory cannot be read.
pub fn damaged(run: &RunDir, job: &Job, receipts: &Receipts) -> Result<Vec<BatchRange>> {
    let format = job.parameters.output_format;
    let stored = receipts.values().flat_map(|receipt| {
        let range = receipt.range();
        let part = (RunDir::part_name(range, format), &receipt.part);
        let letters = receipt
            .dead_letters
            .as_ref()
            .map(|letters| (RunDir::dead_letters_name(range), letters));
        std::iter::once(part)
            .chain(letters)
            .map(move |(name, stored)| (range, name, stored))
    });
    let mut damaged: Vec<BatchRange> = Vec::new();
    run.get_each(
        stored,
        |(_, name, _)| name.clone(),
        |(range, _, stored), content| {
            let is_intact = content?.is_some_and(|content| Stored::of(&content) == *stored);
            if !is_intact && damaged.last() != Some(&range) {
                damaged.push(range);
            }
            Ok(())
        },
    )?;
    Ok(damaged)
}

/// Joins the parts of a finished run in the order of the input. The parts must not be [`damaged`].
///
/// # Errors
/// A part is missing, or the output cannot be written. The previous output, if any, is unchanged then.
pub fn collect(
    run: &RunDir,
    job: &Job,
    ranges: &CompletedRanges,
    destination: &Destination,
    progress: &mut dyn FnMut(Event),
) -> Result<()> {
    let parts = Parts {
        run,
        job,
        ranges,
        progress,
    };
    (parts.progress)(Event::Collecting {
        parts: 0,
        of: job.batches,
    });
    match destination {
        Destination::Stdout => {
            let out = io::stdout();
            let place = "to standard output";
            match out.is_terminal() {
                true => drop(parts.join(BufWriter::new(Terminal::new(out)), place)?),
                false => drop(parts.join(BufWriter::with_capacity(1 << 16, out), place)?),
            }
        }
        Destination::File(path) => {
            let path = target(path);
            let temporary = temporary(&path, &run.name());
            let place = path.display().to_string();
            let failed = |e| Error::storage("write the output", &place, e);
            let write = || -> Result<()> {
                let file = File::create(&temporary).map_err(failed)?;
                keep_access(&path, &file).map_err(failed)?;
                let out = parts.join(BufWriter::with_capacity(1 << 20, file), &place)?;
                let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
                file.sync_all().map_err(failed)?;
                std::fs::rename(&temporary, &path).map_err(failed)
            };
            write().inspect_err(|_| {
                // Best effort: the first error is the one to report.
                let _ = std::fs::remove_file(&temporary);
            })?;
        }
        Destination::Folder(path) => {
            let path = target(path);
            let temporary = temporary(&path, &run.name());
            parts.copy(&path, &temporary).inspect_err(|_| {
                // Best effort, as above.
                let _ = remove_folder(&temporary);
            })?;
        }
    }
    Ok(())
}

/// Joins all dead letters into `failed.jsonl`, or deletes it if there are none.
///
/// # Errors
/// The run directory cannot be read or written.
pub fn collect_dead_letters(run: &RunDir, ranges: &CompletedRanges) -> Result<()> {
    let failed = |e| Error::storage("write", run.object_uri(FAILED), e);
    let with_letters = ranges.iter().filter(|(_, has_letters)| *has_letters);
    let mut with_letters = with_letters.map(|(range, _)| range).peekable();
    if with_letters.peek().is_none() {
        return run.delete(FAILED);
    }
    let mut out = run.writer(FAILED);
    run.get_each(
        with_letters,
        |range| RunDir::dead_letters_name(*range),
        |range, letters| {
            let name = RunDir::dead_letters_name(range);
            out.write_all(&letters?.ok_or_else(|| missing(run, &name))?)
                .map_err(failed)
        },
    )?;
    out.finish().map_err(failed)
}

fn missing(run: &RunDir, name: &str) -> Error {
    run.corrupt(format!("{name} is missing"))
}

struct Parts<'a> {
    run: &'a RunDir,
    job: &'a Job,
    ranges: &'a CompletedRanges,
    progress: &'a mut dyn FnMut(Event),
}

impl Parts<'_> {
    /// Calls `take` with each part, in order.
    fn each(&mut self, mut take: impl FnMut(BatchRange, Bytes) -> Result<()>) -> Result<()> {
        let Self {
            run,
            job,
            ranges,
            progress,
        } = self;
        let format = job.parameters.output_format;
        run.get_each(
            ranges.iter().map(|(range, _)| range),
            |range| RunDir::part_name(*range, format),
            |range, part| {
                let part = part?.ok_or_else(|| missing(run, &RunDir::part_name(range, format)));
                take(range, part?)?;
                progress(Event::Collecting {
                    parts: range.batch + 1,
                    of: job.batches,
                });
                Ok(())
            },
        )
    }

    /// Writes all parts as one file, and returns the writer.
    fn join<W: Write + Send>(mut self, mut out: W, place: &str) -> Result<W> {
        let failed = |e| Error::storage("write the output", place, e);
        match self.job.parameters.output_format {
            OutputFormat::Jsonl => {
                self.each(|_, part| out.write_all(&part).map_err(failed))?;
            }
            OutputFormat::Csv => {
                let header = csv_header(self.job)?;
                out.write_all(&header).map_err(failed)?;
                let run = self.run;
                self.each(|range, part| {
                    let wrong = || run.corrupt(format!("part {} has another header", range.batch));
                    let rows = part.strip_prefix(header.as_slice()).ok_or_else(wrong)?;
                    out.write_all(rows).map_err(failed)
                })?;
            }
            OutputFormat::Parquet | OutputFormat::Arrow => return self.join_columns(out, place),
        }
        out.flush().map_err(failed)?;
        Ok(out)
    }

    fn join_columns<W: Write + Send>(mut self, out: W, place: &str) -> Result<W> {
        let format = self.job.parameters.output_format;
        let failed = |e: WriteError| Error::storage("write the output", place, e);
        let run = self.run;
        let schema = schema(self.job);
        let mut file = ColumnarFile::new(format, out, schema.clone()).map_err(failed)?;
        self.each(|BatchRange { batch, .. }, part| {
            let corrupt = |e| run.corrupt(format!("part {batch} is damaged: {e}"));
            for rows in part::rows(format, part).map_err(corrupt)? {
                let columns = rows.map_err(corrupt)?.columns().to_vec();
                let rows = RecordBatch::try_new(schema.clone(), columns);
                let rows = rows.map_err(|e| corrupt(e.into()))?;
                file.push(rows).map_err(failed)?;
            }
            Ok(())
        })?;
        let mut out = file.finish().map_err(failed)?;
        out.flush().map_err(|e| failed(e.into()))?;
        Ok(out)
    }

    /// Writes the parts to a new folder, and replaces the old folder with it.
    fn copy(mut self, path: &Path, temporary: &Path) -> Result<()> {
        let place = path.display().to_string();
        let failed = |e| Error::storage("write the output", &place, e);
        check_replaceable(path)?;
        remove_folder(temporary).map_err(failed)?;
        std::fs::create_dir(temporary).map_err(failed)?;
        if path.is_dir() {
            let folder = File::open(temporary).map_err(failed)?;
            keep_access(path, &folder).map_err(failed)?;
        }
        let extension = self.job.parameters.output_format.extension();
        let mut number = 0;
        self.each(|_, part| {
            let name = format!("part-{number:08}.{extension}");
            number += 1;
            std::fs::write(temporary.join(name), part).map_err(failed)
        })?;
        remove_folder(path).map_err(failed)?;
        std::fs::rename(temporary, path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_parsed_from_names() {
        let parse = |text: &str, format| {
            let (destination, format) = Destination::parse(text, format)?;
            Ok::<_, Error>((destination.name(), format))
        };
        let parquet = OutputFormat::Parquet;
        assert_eq!(
            parse("/a/b.csv", None).unwrap(),
            ("/a/b.csv".into(), OutputFormat::Csv)
        );
        assert_eq!(
            parse("/a/none/", Some(parquet)).unwrap(),
            ("/a/none/".into(), parquet)
        );
        assert_eq!(parse("-", None).unwrap(), ("-".into(), OutputFormat::Jsonl));
        assert_eq!(
            parse("/a/b.ipc", Some(OutputFormat::Arrow)).unwrap(),
            ("/a/b.ipc".into(), OutputFormat::Arrow)
        );
        assert!(parse("/a/none/", None).is_err());
        assert!(parse("/a/b.csv", Some(parquet)).is_err());
        assert!(parse("/a/b.txt", None).is_err());
        assert!(parse("s3://bucket/b.csv", None).is_err());
    }
}
