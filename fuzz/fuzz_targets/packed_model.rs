//! Arbitrary packed model, as it is and with a correct checksum: opening it never panics and never
//! reads outside the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shoal_encoder::packed::{Container, reseal, to_bytes};
use shoal_kernels::{Pod, copy_aligned};

fuzz_target!(|input: &[u8]| {
    open(input);
    let mut sealed = input.to_vec();
    reseal(&mut sealed);
    open(&sealed);
});

fn open(input: &[u8]) {
    let container = match Container::from_bytes(copy_aligned(input), "fuzz.shoal") {
        Ok(container) => container,
        Err(error) => {
            assert!(error.to_string().contains("fuzz.shoal"));
            return;
        }
    };
    let _ = container.model::<Value>();
    let mut sections = Vec::new();
    for (name, len) in container.sections() {
        let section = container.section(name).unwrap();
        assert_eq!(section.len(), len);
        assert!(len <= input.len());
        view::<u8>(&container, name, len);
        view::<i8>(&container, name, len);
        view::<u16>(&container, name, len);
        view::<i32>(&container, name, len);
        view::<u32>(&container, name, len);
        view::<f32>(&container, name, len);
        sections.push((name, section));
    }

    // Sections that can be read can be written, and read back unchanged.
    let borrowed: Vec<_> = sections
        .iter()
        .map(|(name, section)| (*name, &**section))
        .collect();
    let again = Container::from_bytes(to_bytes(&(), &borrowed).unwrap(), "fuzz.shoal").unwrap();
    for (name, section) in &sections {
        assert_eq!(*again.section(name).unwrap(), **section);
    }
}

/// Reads every element if the section is a whole number of them.
fn view<T: Pod + PartialEq>(container: &Container, name: &str, len: usize) {
    let view = container.view::<T>(name);
    assert_eq!(view.is_ok(), len % size_of::<T>() == 0);
    if let Ok(view) = view {
        assert_eq!(size_of_val(&*view), len);
        // Counting accesses every element.
        std::hint::black_box(
            view.iter()
                .filter(|element| **element == T::zeroed())
                .count(),
        );
    }
}
