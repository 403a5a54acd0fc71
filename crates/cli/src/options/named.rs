//! Values that have names in the library: the flags and `shoal.toml` take the same ones.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::{Deserialize, Deserializer, Serializer};

use shoal::job::format::{Format, OutputFormat};
use shoal::{BackendKind, Children, OnError, Precision, Target};

/// A value with a name.
pub(crate) trait Named: Copy + Send + Sync + 'static {
    /// All values that can be chosen.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.name() == name)
    }
}

macro_rules! named {
    ($($type:ty: $all:expr,)*) => {
        $(impl Named for $type {
            const ALL: &'static [Self] = $all;

            fn name(self) -> &'static str {
                self.name()
            }
        })*
    };
}

named! {
    BackendKind: BackendKind::ALL,
    Children: &Children::ALL,
    Format: &Format::FILES,
    OnError: &OnError::ALL,
    OutputFormat: &OutputFormat::ALL,
    Precision: &Precision::ALL,
    Target: &Target::ALL,
}

/// Parses a flag.
pub(crate) fn parser<T: Named>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.name()))
        .map(|name| T::named(&name).expect("clap checked the name"))
}

pub(super) fn serialize<T: Named, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_some(value.name()),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, T: Named, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    let parse = |name: String| {
        T::named(&name).ok_or_else(|| {
            let names: Vec<_> = T::ALL.iter().map(|value| value.name()).collect();
            serde::de::Error::custom(format!("{name:?} is none of {}", names.join(", ")))
        })
    };
    name.map(parse).transpose()
}
