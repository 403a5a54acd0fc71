//! A short campaign, and a test of its determinism.

use std::thread;

use chaos::{Campaign, Fault, run, seed_of};

#[test]
fn three_hundred_runs_keep_all_guarantees() {
    let threads = 4;
    let campaign = thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|share| {
                scope.spawn(move || {
                    let runs = (share..300).step_by(threads as usize);
                    runs.map(|number| run(seed_of(42, number), false))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut campaign = Campaign::default();
        for share in shares {
            for report in share.join().expect("a run catches its panics") {
                assert_eq!(
                    report.violation, None,
                    "cargo run --release -p chaos -- --replay {}",
                    report.seed
                );
                campaign.add(&report);
            }
        }
        campaign
    });
    println!("{campaign}");
    for &fault in Fault::ALL {
        assert!(
            campaign.faults().of(fault) > 0,
            "no run had the fault: {fault}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for number in 0..20 {
        let seed = seed_of(7, number);
        let (one, other) = (run(seed, false), run(seed, false));
        // The digest is not compared: the event log writes segments by the real clock, so those requests vary.
        assert_eq!(
            (one.faults, one.time, one.records),
            (other.faults, other.time, other.records),
            "seed {seed}"
        );
    }
}
