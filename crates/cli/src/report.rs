//! `shoal report`: reports the time and cost of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, ValueEnum};

use super::options::PriceOptions;
use super::output::{say, write};
use shoal::job::run_dir::REPORT;
use shoal::{Error, Result, find_run};

const EXAMPLES: &str = "\
Examples:
  shoal report reviews-ebcf50ee                     # writes report.html into the run directory, and prints where
  shoal report reviews-ebcf50ee --open              # also opens it
  shoal report reviews-ebcf50ee --format markdown   # also csv (a row per invocation) and json
  shoal report reviews-ebcf50ee -o report.html";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArgs {
    /// Name of a run, or path or URL of its directory
    run: String,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "html")]
    format: ReportFormat,

    /// Where to write: a file, or - for standard output [default: the run directory for html, else standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    output: Option<PathBuf>,

    /// Open the page
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    prices: PriceOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Html,
    Json,
    Csv,
    Markdown,
}

impl ReportFormat {
    /// The format that the ending of a file's name stands for.
    pub(crate) fn by_ending(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.unwrap_or_default().to_ascii_lowercase().as_str() {
            "html" | "htm" => Ok(Self::Html),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "md" | "markdown" => Ok(Self::Markdown),
            _ => Err(Error::Settings(format!(
                "failed to choose a format for {}: name a file that ends in .html, .md, .csv or .json",
                path.display()
            ))),
        }
    }
}

pub(crate) fn report(args: ReportArgs) -> Result<()> {
    if args.open && args.format != ReportFormat::Html {
        return Err(Error::Settings(
            "--open shows the page, and works only with --format html".into(),
        ));
    }
    let run = find_run(&args.run)?;
    let prices = shoal::prices(args.prices.prices.as_deref())?;
    let report = shoal::report(&run, &prices)?;
    let content = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    let written = match (args.output, args.format) {
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
