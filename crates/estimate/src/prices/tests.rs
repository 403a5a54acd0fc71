use super::*;

fn price(item: Item, region: &str, architecture: Option<Architecture>) -> Price {
    Prices::aws()
        .find(item, region, architecture)
        .unwrap()
        .clone()
}

#[test]
fn the_built_in_prices_are_well_formed() {
    let prices = Prices::aws();
    assert_eq!(
        (prices.provider.as_str(), prices.date.as_str()),
        ("aws", "2026-11-24")
    );
    assert!(
        prices
            .prices
            .iter()
            .all(|price| !price.source.is_empty() && !price.unit.is_empty())
    );
}

/// The provider's worked example: 3 million invocations of 120 ms at 1,536 MB are 540,000 GB-s.
/// They cost 9.00 USD before the free tier, and the requests cost 0.60 USD.
#[test]
fn lambda_costs_match_the_worked_example() {
    let compute = price(Item::LambdaCompute, "us-east-1", Some(Architecture::X86));
    let gb_s = 3e6 * 0.120 * 1536.0 / 1024.0;
    assert_eq!(gb_s, 540_000.0);
    assert!((compute.cost(gb_s) - 9.000_018).abs() < 1e-9);
    let requests = price(Item::LambdaRequest, "us-east-1", None);
    assert!((requests.cost(3e6) - 0.60).abs() < 1e-12);
}

#[test]
fn tiers_are_filled_one_after_another() {
    let compute = price(Item::LambdaCompute, "us-east-1", Some(Architecture::X86));
    let by_hand = 6e9 * 1.666_67e-5 + 9e9 * 1.500_003e-5 + 1e9 * 1.333_336e-5;
    assert!(
        (compute.cost(16e9) - by_hand).abs() < 1e-3,
        "{}",
        compute.cost(16e9)
    );
    assert_eq!(compute.cost(0.0), 0.0);
    let arm = price(Item::LambdaCompute, "us-east-1", Some(Architecture::Arm64));
    let by_hand = 7.5e9 * 1.333_34e-5 + 0.5e9 * 1.200_006e-5;
    assert!((arm.cost(8e9) - by_hand).abs() < 1e-3);
}

/// 4,000 batches as Standard children with two transitions each: 8,000 at 0.025 USD per thousand.
#[test]
fn transition_costs_match_hand_computed_ones() {
    assert!(
        (price(Item::StandardTransition, "eu-west-1", None).cost(8_000.0) - 0.20).abs() < 1e-12
    );
}

#[test]
fn regions_differ_and_unknown_ones_are_named() {
    let x86 = Some(Architecture::X86);
    assert!((price(Item::LambdaCompute, "af-south-1", x86).tiers[0].usd - 2.21e-5).abs() < 1e-15);
    let prices = Prices::aws();
    let error = prices.find(Item::LambdaCompute, "moon-1", x86).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("lambda_compute")
            && text.contains("moon-1, x86_64")
            && text.contains("price file"),
        "{text}"
    );
    // A price for `*` is found in every region.
    assert!(prices.find(Item::LambdaRequest, "moon-1", None).is_ok());
}

#[test]
fn invalid_price_files_are_refused() {
    let with = |tiers: &str, currency: &str| {
        format!(
            r#"{{"provider":"p","date":"d","currency":"{currency}","prices":[{{"item":"store_get","region":"*","unit":"u",
               "tiers":{tiers},"source":"s","sure":"unverified"}}]}}"#
        )
    };
    let error = |text: &str| Prices::parse(text, "f.json").unwrap_err().to_string();
    Prices::parse(&with(r#"[{"from":0,"usd":1}]"#, "USD"), "f.json").unwrap();
    for (tiers, why) in [
        ("[]", "no tiers"),
        (r#"[{"from":1,"usd":1}]"#, "start at 0"),
        (r#"[{"from":0,"usd":-1}]"#, "negative or not finite"),
        (
            r#"[{"from":0,"usd":1},{"from":0,"usd":2}]"#,
            "not in ascending order",
        ),
        (r#"[{"from":0,"usd":1,"eur":2}]"#, "unknown field"),
    ] {
        let text = error(&with(tiers, "USD"));
        assert!(text.contains("f.json") && text.contains(why), "{text}");
    }
    assert!(error(&with(r#"[{"from":0,"usd":1}]"#, "EUR")).contains("EUR"));
    assert!(error("[").contains("f.json"));
    assert!(
        Prices::read(Path::new("/nonexistent/prices.json"))
            .unwrap_err()
            .to_string()
            .contains("prices.json")
    );
}
