use super::*;

fn usage() -> Usage {
    Usage::none("us-east-1", Architecture::X86, Basis::Measured)
}

/// 1,000 batches of 2 s at 1,769 MB with 100 cold starts of 0.1 s, as Standard children with two
/// transitions each.
#[test]
fn a_bill_matches_a_hand_computed_one() {
    let gb = 1769.0 / 1024.0;
    let used = Usage {
        compute_gb_s: 1000.0 * 2.0 * gb,
        init_gb_s: 100.0 * 0.1 * gb,
        requests: 1000.0,
        transitions: 2000.0,
        puts: 2000.0,
        gets: 3000.0,
        ..usage()
    };
    let bill = used.bill(&Prices::aws()).unwrap();
    let usd: Vec<_> = bill
        .items
        .iter()
        .map(|item| (item.name.as_str(), item.usd))
        .collect();
    let by_hand = [
        ("compute", 2000.0 * gb * 1.66667e-5),
        ("cold starts", 10.0 * gb * 1.66667e-5),
        ("requests", 0.0002),
        ("state transitions", 0.05),
        ("store writes", 0.01),
        ("store reads", 0.0012),
    ];
    assert_eq!(usd.len(), by_hand.len());
    for ((name, usd), (expected, hand)) in usd.into_iter().zip(by_hand) {
        assert_eq!(name, expected);
        assert!((usd - hand).abs() < 1e-9, "{name}: {usd}, expected {hand}");
    }
    assert!((bill.usd() - by_hand.iter().map(|(_, usd)| usd).sum::<f64>()).abs() < 1e-9);
    assert_eq!(bill.basis(), Basis::Measured);
}

#[test]
fn cold_starts_fill_the_same_tiers_as_compute() {
    let together = Usage {
        compute_gb_s: 8e9,
        ..usage()
    };
    let apart = Usage {
        compute_gb_s: 5e9,
        init_gb_s: 3e9,
        ..usage()
    };
    let prices = Prices::aws();
    let (together, apart) = (
        together.bill(&prices).unwrap(),
        apart.bill(&prices).unwrap(),
    );
    assert!((together.usd() - apart.usd()).abs() < 1e-3);
}

#[test]
fn no_usage_costs_nothing() {
    let bill = usage().bill(&Prices::aws()).unwrap();
    assert!(bill.items.is_empty());
    assert!(bill.usd().is_sign_positive() && bill.usd() == 0.0);
}

#[test]
fn a_missing_price_is_an_error() {
    let used = Usage {
        compute_gb_s: 1.0,
        ..Usage::none("nowhere", Architecture::X86, Basis::Assumed)
    };
    assert!(used.bill(&Prices::aws()).is_err());
}
