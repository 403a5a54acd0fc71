//! Arbitrary price file or calibration: accepted files produce valid numbers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_estimate::{Architecture, Calibration, Prices, prices::Item};
use shoal_fuzz::folder;

const ITEMS: [Item; 8] = [
    Item::LambdaCompute,
    Item::LambdaRequest,
    Item::StandardTransition,
    Item::ExpressRequest,
    Item::ExpressCompute,
    Item::StorePut,
    Item::StoreGet,
    Item::StoreMonth,
];

fuzz_target!(|input: &[u8]| {
    let folder = folder();
    let path = folder.path().join("file.json");
    std::fs::write(&path, input).unwrap();
    if let Ok(prices) = Prices::read(&path) {
        for item in ITEMS {
            for architecture in [None, Some(Architecture::X86), Some(Architecture::Arm64)] {
                if let Ok(price) = prices.find(item, "eu-central-1", architecture) {
                    for quantity in [0.0, 1.0, 1e12] {
                        assert!(price.cost(quantity) >= 0.0);
                    }
                }
            }
        }
    }
    if let Ok(calibration) = Calibration::read(&path) {
        for number in [0, 1, 2, 64, 512, u32::MAX] {
            assert!(calibration.record_seconds(number) >= 0.0);
            assert!(calibration.slowdown(number) >= 0.0);
        }
        assert_eq!(
            Calibration::parse(&calibration.json()).unwrap(),
            calibration
        );
    }
});
