//! `shoal report`: reports the time and cost of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::args::report::{ReportArgs, ReportFormat};
use super::progress::say;
use super::{print, write};
use shoal::job::run_dir::REPORT;
use shoal::{Error, Result, find_run};

pub(super) fn report(args: ReportArgs) -> Result<()> {
    if args.open && args.format != ReportFormat::Html {
        return Err(Error::Settings(
            "--open shows the page, and works only with --format html".into(),
        ));
    }
    let run = find_run(&args.run)?;
    let prices = shoal::prices(args.prices.as_deref())?;
    let report = shoal::report(&run, &prices)?;
    let content = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    let is_page = args.format == ReportFormat::Html;
    let written: Option<PathBuf> = match &args.output {
        Some(path) => {
            write(path, content.as_bytes())?;
            Some(path.clone()).filter(|path| path.as_os_str() != "-")
        }
        None if is_page => {
            run.replace(REPORT, content.clone())?;
            say(&format!("the report is {}", run.object_uri(REPORT)));
            run.folder().map(|folder| folder.join(REPORT))
        }
        None => {
            print(content.as_bytes())?;
            None
        }
    };
    match written {
        Some(path) if args.open => open(&path),
        _ if args.open => Err(Error::Settings(
            "--open shows a file of this machine; write the page to one (-o report.html)".into(),
        )),
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
