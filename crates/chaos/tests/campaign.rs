//! A campaign that is short enough for the suite, and that the campaign itself is what it says.

use std::thread;

use chaos::{Campaign, Fault, Stock, run, seed_of};

#[test]
fn nothing_is_lost_in_some_hundred_runs() {
    let (stock, threads) = (Stock::new(), 4);
    let campaign = thread::scope(|scope| {
        let shares: Vec<_> = (0..threads)
            .map(|share| {
                let stock = &stock;
                scope.spawn(move || {
                    let runs = (share..300).step_by(threads as usize);
                    runs.map(|number| run(stock, seed_of(42, number), false))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut campaign = Campaign::default();
        for share in shares {
            for report in share.join().expect("a run catches its panics") {
                assert_eq!(
                    report.breach, None,
                    "cargo run --release -p chaos -- --replay {}",
                    report.seed
                );
                campaign.add(&report);
            }
        }
        campaign
    });
    println!("{campaign}");
    for fault in Fault::ALL {
        assert!(campaign.faults().of(fault) > 0, "no run had this: {fault}");
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let stock = Stock::new();
    for number in 0..20 {
        let seed = seed_of(7, number);
        let (one, other) = (run(&stock, seed, false), run(&stock, seed, false));
        // Not the digest: segments of the event log are put by the real clock, so that requests for them come now and then.
        assert_eq!(
            (one.faults, one.time, one.records),
            (other.faults, other.time, other.records),
            "seed {seed}"
        );
    }
}
