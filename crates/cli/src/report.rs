//! `shoal report`: reports the time and cost of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

use super::options::{PriceOptions, heading};
use super::output::{say, write};
use shoal::job::run_dir::REPORT;
use shoal::{Error, Result, find_run};

const EXAMPLES: &str = "\
Examples:
  shoal report reviews-ebcf50ee                     # writes report.html into the run directory, and prints where
  shoal report reviews-ebcf50ee --open              # also opens it
  shoal report reviews-ebcf50ee --format markdown   # also csv (a row per invocation) and json
  shoal report reviews-ebcf50ee -o report.md";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, next_help_heading = heading::OUTPUT)]
pub(crate) struct ReportArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    /// html, json, csv or markdown [default: html]
    ///
    /// [default: by the ending of the output, else html]
    #[arg(long, value_name = "FORMAT")]
    format: Option<ReportFormat>,

    /// Where to write: a file, or - for standard output
    ///
    /// The ending decides the format: .html, .json, .csv or .md [default: the run directory for html, else standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Option<PathBuf>,

    /// Open the page
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    prices: PriceOptions,
}

/// What a report or a comparison is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Html,
    Json,
    Csv,
    Markdown,
}

impl ReportFormat {
    /// The formats with the ending of their files.
    const ENDINGS: [(Self, &str); 4] = [
        (Self::Html, "html"),
        (Self::Json, "json"),
        (Self::Csv, "csv"),
        (Self::Markdown, "md"),
    ];

    /// The requested format, else that of the output's ending, else `default` for standard output. A file whose ending
    /// contradicts the request, or without a known one, is an error.
    pub(crate) fn choose(given: Option<Self>, output: &Path, default: Self) -> Result<Self> {
        if output.as_os_str() == "-" {
            return Ok(given.unwrap_or(default));
        }
        let ending = output.extension().unwrap_or_default();
        let of_name = Self::ENDINGS
            .iter()
            .find(|(_, one)| ending.eq_ignore_ascii_case(one));
        let of_name = of_name.map(|(format, _)| *format);
        if let (Some(given), Some(of_name)) = (given, of_name)
            && given != of_name
        {
            return Err(Error::Settings(format!(
                "failed to choose the format of {}: the name is that of another one; leave out --format, or use another name",
                output.display()
            )));
        }
        given.or(of_name).ok_or_else(|| {
            Error::Settings(format!(
                "failed to choose the format of {}: the name does not end in {}; choose one of them, or give --format",
                output.display(),
                endings()
            ))
        })
    }
}

/// The endings of reports, as in a sentence.
fn endings() -> String {
    let [others @ .., last] = ReportFormat::ENDINGS.map(|(_, ending)| format!(".{ending}"));
    format!("{} or {last}", others.join(", "))
}

pub(crate) fn report(args: ReportArgs) -> Result<()> {
    let default = ReportFormat::Html;
    let format = match &args.output {
        Some(output) => ReportFormat::choose(args.format, output, default)?,
        None => args.format.unwrap_or(default),
    };
    if args.open && format != ReportFormat::Html {
        return Err(Error::Settings(
            "--open shows the page, and works only with the format html".into(),
        ));
    }
    let run = find_run(&args.run)?;
    let prices = shoal::prices(args.prices.prices.as_deref())?;
    let report = shoal::report(&run, &prices)?;
    let content = match format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    let written = match (args.output, format) {
        (None, ReportFormat::Html) => {
            run.replace(REPORT, content)?;
            say(&format!("the report is {}", run.object_uri(REPORT)));
            run.folder().map(|folder| folder.join(REPORT))
        }
        (output, _) => {
            let path = output.unwrap_or("-".into());
            write(&path, &content)?;
            Some(path).filter(|path| path.as_os_str() != "-")
        }
    };
    match written {
        _ if !args.open => Ok(()),
        Some(path) => open(&path),
        None => Err(Error::Settings(
            "--open shows a file of this machine; write the page to one (-o report.html)".into(),
        )),
    }
}

/// Opens a page on the desktop.
fn open(page: &Path) -> Result<()> {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let status = Command::new(program)
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        end => {
            let why = end.map_or_else(|e| e.to_string(), |status| status.to_string());
            Err(Error::Settings(format!(
                "failed to open {} with {program} ({why}); open it in a browser",
                page.display()
            )))
        }
    }
}
