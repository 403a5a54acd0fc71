use shoal_estimate::{Approach, Basis, Bill, BillItem, Confidence, PaperBaseline};

use super::*;

fn candidate(seconds: f64, peak_concurrency: u64, usd: Option<f64>) -> Approach {
    Approach {
        seconds,
        function_seconds: 1_000.0,
        peak_concurrency,
        cold_starts: peak_concurrency,
        invocations: 100,
        bill: usd.map(|usd| Bill {
            provider: "aws".into(),
            date: "2026-11-24".into(),
            region: Some("us-east-1".into()),
            items: vec![BillItem {
                name: "compute".into(),
                quantity: usd / 2e-5,
                unit: "GB-s".into(),
                usd,
                basis: Basis::Predicted,
                usd_per_unit: 2e-5,
                confidence: Confidence::Documented,
                source: "https://example.com/prices".into(),
            }],
        }),
    }
}

fn comparison(usd: [Option<f64>; 2]) -> Comparison {
    Comparison {
        inputs: vec!["reviews.csv".into()],
        function: "bundled".into(),
        engine: "int8 on avx2".into(),
        records: 5_000,
        unit: "tokens".into(),
        units: 1_000_000,
        place: "lambda, 1769 MB, x86_64, us-east-1".into(),
        basis: Basis::Predicted,
        concurrency: 1_000,
        assumptions: vec!["A vCPU is as fast as the core that was measured.".into()],
        rows: vec![
            BatchSize {
                batch_size: 50,
                same_batches: Vec::new(),
                batches: 100,
                monolithic: candidate(1_000.0, 1, usd[0]),
                parallel: candidate(12.5, 100, usd[1]),
            },
            BatchSize {
                batch_size: 500,
                same_batches: Vec::new(),
                batches: 10,
                monolithic: candidate(1_000.0, 1, usd[0]),
                parallel: candidate(110.0, 10, usd[1]),
            },
        ],
        paper_baseline: Some(PaperBaseline {
            runtime: "PyTorch 2.9".into(),
            records: 512,
            batch_size: 50,
            seconds_per_record: 0.6,
            start_seconds: 4.0,
            shoal_seconds_per_record: 0.06,
            usd_per_million: 17.0,
            shoal_usd_per_million: 1.7,
        }),
        command: "shoal compare reviews.csv --batch-sizes 50,500".into(),
    }
}

/// 12.5 of 1,000 s are 98.75 % less, 80 times as fast on 100 functions; 0.0206 USD are 3 % more than 0.02.
#[test]
fn rows_by_hand() {
    let report = ComparisonReport::of(&comparison([Some(0.02), Some(0.0206)]));
    let [first, second] = report.rows[..] else {
        panic!("two batch sizes")
    };
    let close =
        |found: f64, by_hand: f64| assert!((found - by_hand).abs() < 1e-12, "{found} {by_hand}");
    close(first.reduction, 0.9875);
    close(first.efficiency, 0.8);
    close(first.cost_change.unwrap(), 0.03);
    close(first.parallel_usd_per_million_records.unwrap(), 4.12);
    assert_eq!(first.is_as_claimed, Some(true));
    close(second.reduction, 0.89);
    assert_eq!(second.is_as_claimed, Some(false));
}

#[test]
fn without_a_price_only_the_time_is_judged() {
    let report = ComparisonReport::of(&comparison([None, None]));
    assert!(report.rows.iter().all(|row| row.is_as_claimed.is_none()));
    let text = report.markdown();
    assert!(
        text.contains("Nothing here has a price; 1 of 2 batch sizes save 95 % of the time."),
        "{text}"
    );
    crate::html::tests::check(&report.html());
}

#[test]
fn text_forms() {
    let report = ComparisonReport::of(&comparison([Some(0.02), Some(0.0206)]));
    insta::assert_snapshot!("markdown", report.markdown());
    insta::assert_snapshot!("csv", report.csv());
    let html = report.html();
    crate::html::tests::check(&html);
    assert!(html.contains("predicted"));
}

#[test]
fn a_comparison_without_batch_sizes_says_so() {
    let mut empty = comparison([None, None]);
    empty.rows.clear();
    let report = ComparisonReport::of(&empty);
    crate::html::tests::check(&report.html());
    assert!(report.markdown().contains("No batch size was compared."));
}
