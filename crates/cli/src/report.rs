//! `shoal report`: reports the time and cost of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::args::report::{ReportArgs, ReportFormat};
use super::print;
use super::progress::say;
use shoal::job::run_dir::REPORT;
use shoal::{Error, Result, find_run};

pub(super) fn report(args: ReportArgs) -> Result<()> {
    if args.open && args.format != ReportFormat::Html {
        return Err(Error::Settings(
            "--open shows the page, and works only with --format html".into(),
        ));
    }
    let run = find_run(&args.run)?;
    let prices = shoal::plan::prices(args.prices.as_deref())?;
    let report = shoal::report(&run, &prices)?;
    let content = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    let is_page = args.format == ReportFormat::Html;
    let written: Option<PathBuf> = match &args.output {
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => {
            std::fs::write(path, content.as_bytes())
                .map_err(|e| shoal::job::Error::storage("write", path.display().to_string(), e))?;
            Some(path.clone())
        }
        None if is_page => {
            run.replace(REPORT, content.clone())?;
            say(&format!("the report is {}", run.object_uri(REPORT)));
            run.folder().map(|folder| folder.join(REPORT))
        }
        None => None,
    };
    match written {
        Some(path) if args.open => open(&path),
        _ if args.open => Err(Error::Settings(
            "--open shows a file of this machine; write the page to one (-o report.html)".into(),
        )),
        None if args.output.is_some() || !is_page => print(content.as_bytes()),
        _ => Ok(()),
    }
}

/// Opens a page on the desktop.
pub(super) fn open(page: &Path) -> Result<()> {
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
