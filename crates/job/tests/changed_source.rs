//! A source that changed after planning is detected before a wrong row is read.

mod common;

use std::fs::File;
use std::time::{Duration, SystemTime};

use common::Bench;
use shoal_job::Row;
use shoal_job::input::Sources;

const BEFORE: &str = "id,text\n1,good\n2,fine\n";
const AFTER: &str = "id,text\n1,evil\n2,fine\n";

#[test]
fn a_change_of_the_content_is_detected() {
    let bench = Bench::new();
    let path = bench.path("in.csv");
    // The times differ even on a file system with coarse timestamps.
    let write = |content: &str, seconds: u64| {
        std::fs::write(&path, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    write(BEFORE, 1_000_000);
    let (job, run) = bench.plan(&[&path], 1).unwrap();
    let batches = run.batches(&job).unwrap();
    let sources = Sources::default();
    let read = |batch: usize| {
        sources
            .rows(&job, &run, &batches[batch])
            .collect::<Result<Vec<Row>, _>>()
    };

    assert_eq!(read(0).unwrap()[0].content.as_ref().unwrap().text(), "good");
    // A source that was rewritten with the same content is unchanged.
    write(BEFORE, 2_000_000);
    assert_eq!(read(1).unwrap()[0].content.as_ref().unwrap().text(), "fine");
    write(AFTER, 3_000_000);
    let error = read(0).unwrap_err().to_string();
    assert!(
        error.contains("changed during the run: its content is different"),
        "{error}"
    );
    write("id,text\n", 2_000_000);
    let error = read(0).unwrap_err().to_string();
    assert!(error.contains("it had 22 bytes, has 8"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(read(0).unwrap_err().to_string().contains("no such file"));
}
