//! Columns that are in the path of a file: `lang=en/part-0.parquet`, as Hive, Spark and pyarrow write them.

use std::path::MAIN_SEPARATOR;

use percent_encoding::percent_decode_str;

use crate::spec::Partition;
use crate::store::Location;

/// The value that stands for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns in the names of the folders of a source; the last of those with one name.
pub(super) fn partitions(location: &Location) -> Vec<Partition> {
    let path = location.path();
    let Some((folders, _)) = path.rsplit_once(['/', MAIN_SEPARATOR]) else {
        return Vec::new();
    };
    let mut found: Vec<Partition> = Vec::new();
    for folder in folders.split(['/', MAIN_SEPARATOR]) {
        let Some((name, value)) = folder.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            continue;
        };
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let name = decode(name);
        found.retain(|known| known.name != name);
        found.push(Partition {
            name,
            value: (value != NULL).then(|| decode(value)),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_path_are_columns() {
        let found = |path: &str| {
            let found = partitions(&Location::Local(path.into())).into_iter();
            found
                .map(|found| (found.name, found.value))
                .collect::<Vec<_>>()
        };
        let of = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(found("/data/a.csv"), []);
        assert_eq!(found("a=b.csv"), []);
        assert_eq!(
            found("/data/lang=en/x/year=2020/a=b.csv"),
            [of("lang", "en"), of("year", "2020")]
        );
        assert_eq!(
            found("/lang=pt%2FBR/na%C3%AFve=a=b/=c/d=/a.csv"),
            [of("lang", "pt/BR"), of("naïve", "a=b"), of("d", "")]
        );
        assert_eq!(
            found("/lang=__HIVE_DEFAULT_PARTITION__/a.csv"),
            [("lang".to_owned(), None)]
        );
        assert_eq!(found("/k=1/k=2/a.csv"), [of("k", "2")]);
    }
}
