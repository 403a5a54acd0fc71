//! The cases, by subject. A case with the golden files of another one follows it.

use super::{Case, Head, bundled, extreme, own, small};

pub(super) fn bundled_cases() -> Vec<Case> {
    let all = "--scores --label-column label --keep-columns text,stars,label,title";
    vec![
        bundled("bundled-csv").options("--label-column label"),
        bundled("bundled-batches-of-7")
            .same_as("bundled-csv")
            .options("--label-column label")
            .cut(7, 1),
        bundled("bundled-batches-of-1")
            .same_as("bundled-csv")
            .options("--label-column label")
            .cut(1, 2),
        bundled("bundled-one-batch-of-jsonl-zst")
            .same_as("bundled-csv")
            .inputs(["examples/reviews.jsonl.zst".into()])
            .options("--label-column label")
            .cut(100_000, 1),
        bundled("bundled-tsv-piped")
            .same_as("bundled-csv")
            .piped("examples/reviews.tsv")
            .options("--label-column label --quote \""),
        bundled("bundled-processes")
            .same_as("bundled-csv")
            .inputs(["examples/reviews.csv.gz".into()])
            .options("--label-column label --backend process"),
        bundled("bundled-jsonl")
            .inputs(["examples/reviews.jsonl".into()])
            .output("out.jsonl")
            .options(all),
        bundled("bundled-parquet")
            .inputs(["examples/reviews.parquet".into()])
            .output("out.parquet")
            .options(all),
        bundled("bundled-text-folder")
            .inputs(["examples/aclImdb".into()])
            .options("--label-column label --keep-columns label --scores"),
        bundled("bundled-f32")
            .engine("f32", "avx2")
            .options("--label-column label --scores"),
        bundled("bundled-avx512")
            .engine("int8", "avx512")
            .options("--label-column label --scores"),
        bundled("bundled-avx512-f32")
            .engine("f32", "avx512")
            .options("--label-column label --scores"),
        bundled("bundled-avx512-vnni")
            .engine("int8", "avx512-vnni")
            .options("--label-column label --scores"),
        bundled("bundled-portable")
            .engine("int8", "portable")
            .inputs([own("reviews-6.jsonl")])
            .options("--scores"),
        bundled("bundled-portable-f32")
            .engine("f32", "portable")
            .inputs([own("reviews-6.jsonl")])
            .options("--scores"),
        bundled("bundled-long")
            .inputs([own("reviews-long.jsonl")])
            .options("--scores"),
        bundled("bundled-long-f32")
            .engine("f32", "avx2")
            .inputs([own("reviews-long.jsonl")])
            .options("--scores"),
        bundled("bundled-16-tokens").options("--label-column label --max-tokens 16"),
    ]
}

/// Every fixture in both precisions.
pub(super) fn model_cases() -> Vec<Case> {
    let models = [
        "bert-bf16-sharded",
        "bert-cased-multi",
        "bert-f32",
        "bert-old-names",
        "bert-vocabulary",
        "distilbert-f16",
        "distilbert-f32",
        "distilbert-positions",
        "distilbert-regression",
    ];
    let mut cases = Vec::new();
    for model in models {
        // Models with 2 and with 7 labels run on every instruction set, the others only where the code path differs.
        let isas = match model {
            "distilbert-f32" | "bert-bf16-sharded" => {
                &["avx2", "portable", "avx512", "avx512-vnni"][..]
            }
            _ => &["avx2", "portable"],
        };
        // Gold labels require one predicted label per record.
        let options = match model {
            "bert-cased-multi" | "distilbert-regression" => "--text-column text --scores",
            _ => "--text-column text --scores --label-column gold",
        };
        for isa in isas {
            for precision in ["f32", "int8"] {
                cases.push(
                    small(&format!("{model}-{isa}-{precision}"), "texts.jsonl")
                        .model(model)
                        .engine(precision, isa)
                        .options(options),
                );
            }
        }
    }
    cases
}

pub(super) fn decision_cases() -> Vec<Case> {
    let threshold = |name, options: &'static str| {
        small(name, "texts.jsonl")
            .model("bert-cased-multi")
            .options(options)
    };
    let regression = |name, output, factor, bias| {
        let head = Head {
            fixture: "distilbert-regression",
            problem: "regression",
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let two = |name, output, factor, bias| {
        let head = Head {
            fixture: "distilbert-f32",
            problem: "single_label_classification",
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let seven = |name, output, problem, factor, bias| {
        let head = Head {
            fixture: "bert-cased-multi",
            problem,
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let single = "single_label_classification";
    let multi = "multi_label_classification";
    let steep = &[0.0, -5.0, -16.0, -40.0, -80.0, -86.0, -200.0];
    let wide = &[-100.0, -20.0, -16.0, 0.0, 16.0, 20.0, 100.0];
    vec![
        threshold("threshold-0", "--text-column text --threshold 0"),
        threshold("threshold-0.45", "--text-column text --threshold 0.45"),
        threshold("threshold-1", "--text-column text --threshold 1"),
        threshold("threshold-parquet", "--text-column text --scores").output("out.parquet"),
        // A model with one label that is not a regression decides between yes and no, by a sigmoid.
        extreme(
            "one-label",
            "out.jsonl",
            Head {
                fixture: "distilbert-regression",
                problem: single,
                factor: 1.0,
                bias: &[0.25],
            },
        ),
        two("two-equal-labels", "out.csv", 0.0, &[0.0, 0.0]),
        two("two-equal-labels-jsonl", "out.jsonl", 0.0, &[0.0, 0.0]),
        two("two-certain-labels", "out.csv", 100.0, &[0.0, 0.0]),
        two("two-certain-labels-jsonl", "out.jsonl", 100.0, &[0.0, 0.0]),
        two("two-nearly-certain-labels", "out.jsonl", 1.0, &[0.0, 15.0]),
        seven("seven-steep-labels", "out.csv", single, 0.0, steep),
        seven("seven-steep-labels-jsonl", "out.jsonl", single, 1.0, steep),
        seven(
            "seven-steep-labels-parquet",
            "out.parquet",
            single,
            1.0,
            steep,
        ),
        seven("seven-wide-labels", "out.csv", multi, 0.01, wide),
        seven("seven-wide-labels-jsonl", "out.jsonl", multi, 1.0, wide),
        regression("regression-0", "out.jsonl", 0.0, &[0.0]),
        regression("regression-1e-44", "out.csv", 0.0, &[1e-44]),
        regression("regression-1e-8", "out.jsonl", 1e-8, &[0.0]),
        regression("regression-1e-5", "out.csv", 1e-5, &[0.0]),
        regression("regression-1e7", "out.csv", 1e7, &[0.0]),
        regression("regression-1e16", "out.jsonl", 1e16, &[0.0]),
        regression("regression-1e20", "out.csv", 1e20, &[0.0]),
        regression("regression-infinite", "out.csv", 0.0, &[f32::INFINITY]),
        regression(
            "regression-infinite-jsonl",
            "out.jsonl",
            0.0,
            &[f32::NEG_INFINITY],
        ),
        regression("regression-nan", "out.csv", 0.0, &[f32::NAN]),
        regression("regression-nan-jsonl", "out.jsonl", 0.0, &[f32::NAN]),
        two("two-labels-nan", "out.csv", 0.0, &[f32::NAN, 0.0]),
    ]
}

pub(super) fn column_cases() -> Vec<Case> {
    let json = "--text-column text --scores --label-column label \
                --keep-columns text,int,float,bool,mixed,big,list,object,größe,label,score";
    let csv = "--text-column text --keep-columns text,number,note,größe,label,score";
    let tsv = "--text-column text --keep-columns note,number,text --quote \"";
    let parquet = "--text-column text --label-column label --keep-columns \
                   text,i8,u64,f32,f64,inf,bool,date,time,utc,clock,decimal,list,struct,dictionary,binary,null,label";
    let id = |name, input| small(name, input).output("out.jsonl");
    let id_parquet = |name, input| small(name, input).output("out.parquet");
    let key = "--text-column text --id-column key";
    vec![
        small("columns-jsonl-to-csv", "columns.jsonl").options(json),
        small("columns-jsonl-to-jsonl", "columns.jsonl")
            .options(json)
            .output("out.jsonl"),
        small("columns-jsonl-to-parquet", "columns.jsonl")
            .options(json)
            .output("out.parquet"),
        small("columns-jsonl-in-batches-of-1", "columns.jsonl")
            .same_as("columns-jsonl-to-jsonl")
            .options(json)
            .output("out.jsonl")
            .cut(1, 2),
        small("columns-csv-to-csv", "columns.csv").options(csv),
        small("columns-csv-to-jsonl", "columns.csv")
            .options(csv)
            .output("out.jsonl"),
        small("columns-csv-to-parquet", "columns.csv")
            .options(csv)
            .output("out.parquet"),
        small("columns-csv-in-batches-of-1", "columns.csv")
            .same_as("columns-csv-to-csv")
            .options(csv)
            .cut(1, 2),
        small("columns-csv-piped", "columns.csv")
            .same_as("columns-csv-to-jsonl")
            .piped(&own("columns.csv"))
            .options(csv)
            .output("out.jsonl"),
        small("columns-crlf", "columns-crlf.csv")
            .options("--text-column text --keep-columns text,note"),
        small("columns-tsv-to-csv", "columns.tsv").options(tsv),
        small("columns-tsv-to-jsonl", "columns.tsv")
            .options(tsv)
            .output("out.jsonl"),
        small("columns-parquet-to-csv", "columns.parquet").options(parquet),
        small("columns-parquet-to-jsonl", "columns.parquet")
            .options(parquet)
            .output("out.jsonl"),
        small("columns-parquet-to-parquet", "columns.parquet")
            .options(parquet)
            .output("out.parquet"),
        small("columns-parquet-in-batches-of-2", "columns.parquet")
            .same_as("columns-parquet-to-jsonl")
            .options(parquet)
            .output("out.jsonl")
            .cut(2, 2),
        small("columns-parquet-piped", "columns.parquet")
            .same_as("columns-parquet-to-jsonl")
            .piped(&own("columns.parquet"))
            .options(parquet)
            .output("out.jsonl"),
        // Values in a named time zone cannot be read.
        small("columns-parquet-time-zone", "columns.parquet")
            .options("--text-column text --keep-columns zone")
            .output("out.jsonl"),
        id("ids-numbers", "ids-numbers.jsonl"),
        id_parquet("ids-numbers-parquet", "ids-numbers.jsonl"),
        id("ids-floats", "ids-floats.jsonl"),
        id_parquet("ids-floats-parquet", "ids-floats.jsonl"),
        id("ids-mixed", "ids-mixed.jsonl"),
        id_parquet("ids-mixed-parquet", "ids-mixed.jsonl"),
        small("ids-mixed-csv", "ids-mixed.jsonl"),
        id("ids-large", "ids-large.jsonl"),
        id("ids-strings", "ids-strings.jsonl"),
        small("ids-strings-csv", "ids-strings.jsonl"),
        id("ids-some", "ids-some.jsonl"),
        id("ids-none", "ids-none.jsonl"),
        id_parquet("ids-none-parquet", "ids-none.jsonl"),
        id("ids-key", "ids-none.jsonl").options(key),
        id("ids-csv-none", "ids-none.csv"),
        id("ids-csv-key", "ids-none.csv").options(key),
        id("ids-csv-some", "ids-some.csv"),
        id("ids-parquet-strings", "ids-strings.parquet"),
        id("ids-parquet-none", "ids-none.parquet"),
    ]
}

pub(super) fn input_cases() -> Vec<Case> {
    let few = "--text-column text --keep-columns text";
    let several = || {
        [
            own("several/*.csv"),
            own("several/c [x].csv"),
            own("several/d.jsonl"),
        ]
    };
    let folder = |name, output, options| {
        small(name, "texts.jsonl")
            .output(output)
            .options(options)
            .cut(20, 2)
    };
    vec![
        small("few", "few.jsonl").options(few).output("out.jsonl"),
        small("few-gz", "few.jsonl.gz")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-two-members", "two-members.jsonl.gz")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-two-frames", "two-frames.jsonl.zst")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-gz-piped", "few.jsonl")
            .same_as("few")
            .piped(&own("few.jsonl.gz"))
            .options(few)
            .output("out.jsonl"),
        small("few-zst-piped", "few.jsonl")
            .same_as("few")
            .piped(&own("two-frames.jsonl.zst"))
            .options(few)
            .output("out.jsonl"),
        small("to-stdout", "few.jsonl").options(few).output("-"),
        small("to-stdout-csv", "few.jsonl")
            .options("--text-column text --keep-columns text --format csv")
            .output("-"),
        small("to-stdout-parquet", "few.jsonl")
            .options("--text-column text --format parquet")
            .output("-"),
        folder("to-folder-csv", "out/", "--text-column text --format csv"),
        folder(
            "to-folder-jsonl",
            "out/",
            "--text-column text --format jsonl",
        ),
        folder(
            "to-folder-parquet",
            "out/",
            "--text-column text --format parquet --scores",
        ),
        folder(
            "to-parquet-of-several-batches",
            "out.parquet",
            "--text-column text --scores",
        ),
        small("several", "few.jsonl")
            .inputs(several())
            .output("out.jsonl")
            .options(few),
        small("several-in-batches-of-2", "few.jsonl")
            .same_as("several")
            .inputs(several())
            .output("out.jsonl")
            .options(few)
            .cut(2, 2),
        small("text-folder", "folder")
            .output("out.jsonl")
            .options("--keep-columns label,text --label-column label"),
        small("text-folder-in-batches-of-1", "folder")
            .same_as("text-folder")
            .output("out.jsonl")
            .options("--keep-columns label,text --label-column label")
            .cut(1, 2),
        small("text-folder-plain", "folder-plain")
            .options("--text-column text --keep-columns text"),
        small("max-tokens-3", "texts.jsonl").options("--text-column text --scores --max-tokens 3"),
        small("max-tokens-10", "texts.jsonl")
            .engine("int8", "avx2")
            .options("--text-column text --scores --max-tokens 10"),
        small("max-tokens-300", "texts.jsonl")
            .model("distilbert-positions")
            .options("--text-column text --scores --max-tokens 300"),
    ]
}

pub(super) fn bad_record_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for input in [
        "bad.jsonl",
        "bad.csv",
        "bad.tsv",
        "bad.parquet",
        "bad-folder",
    ] {
        let owner: &'static str = match input {
            "bad.jsonl" => "bad-jsonl",
            "bad.csv" => "bad-csv",
            "bad.tsv" => "bad-tsv",
            "bad.parquet" => "bad-parquet",
            _ => "bad-text-folder",
        };
        let keep = match input {
            "bad.csv" => "--text-column text --keep-columns text,more",
            _ => "--text-column text --keep-columns text",
        };
        cases.push(small(owner, input).output("out.jsonl").options(keep));
        for (batch_size, concurrency) in [(1, 1), (3, 2)] {
            cases.push(
                small(&format!("{owner}-in-batches-of-{batch_size}"), input)
                    .same_as(owner)
                    .output("out.jsonl")
                    .options(keep)
                    .cut(batch_size, concurrency),
            );
        }
    }
    let bad = "--text-column text";
    cases.extend([
        small("bad-to-csv", "bad.jsonl").options(bad),
        small("bad-to-parquet", "bad.jsonl")
            .options(bad)
            .output("out.parquet"),
        // A batch whose records are all bad has an empty part.
        small("bad-to-folder-csv", "bad-only.jsonl")
            .options("--text-column text --format csv")
            .output("out/")
            .cut(2, 1),
        small("bad-to-folder-jsonl", "bad-only.jsonl")
            .options("--text-column text --format jsonl")
            .output("out/")
            .cut(2, 1),
        small("bad-to-folder-parquet", "bad-only.jsonl")
            .options("--text-column text --format parquet")
            .output("out/")
            .cut(2, 1),
        small("bad-piped", "bad.csv")
            .piped(&own("bad.csv"))
            .options("--text-column text --keep-columns text,more")
            .output("out.jsonl"),
        small("oversized-jsonl", "oversized.jsonl.zst").options(bad),
        small("oversized-csv", "oversized.csv.zst")
            .options(bad)
            .cut(1, 1),
    ]);
    cases
}
