//! Labels the first reviews of the sample, as `shoal run` does, and prints the progress.

use shoal::{Cancel, Event, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("labels.csv");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/aclImdb");

    let mut settings = Settings::new([sample], output.to_string_lossy());
    settings.parameters.batch_size = 5;
    settings
        .parameters
        .columns
        .insert("label".into(), "label".into());
    settings.run_dir = Some(folder.path().join("run"));

    // To stop the run, cancel it from a signal handler or another thread; the same settings resume it.
    let cancel = Cancel::new();
    let summary = shoal::run(&settings, &cancel, &mut |event| {
        if let Event::Finished { worker, receipt } = event {
            println!(
                "worker {worker} finished batch {} in {:.0} ms",
                receipt.batch, receipt.timings.total
            );
        }
    })?;
    print!("{}", std::fs::read_to_string(&output)?);
    println!("{summary}");
    Ok(())
}
