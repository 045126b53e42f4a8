//! `include/downhill.h` is what the sources generate.

use std::{env, fs, path::Path};

/// The header's sections, in order of need, and the source file of each.
const SECTIONS: [(&str, &str); 7] = [
    ("Version", "library"),
    ("Status", "status"),
    ("Configurations", "config"),
    ("Steps", "steps"),
    ("Pools", "pool"),
    ("Whole steps", "many"),
    ("Packed states", "packed"),
];

#[test]
fn the_committed_header_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = generate(root);
    let path = root.join("../include/downhill.h");
    if env::var_os("DOWNHILL_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == generated,
        "include/downhill.h is stale; `DOWNHILL_WRITE_HEADER=1 cargo test -p downhill-capi --test header` rewrites it"
    );
}

fn generate(root: &Path) -> String {
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let header = config.header.take().unwrap();
    let defaults = config.trailer.take().unwrap();
    let mut text = header.trim_start().to_owned();
    for (number, (title, file)) in (1..).zip(SECTIONS) {
        text += &format!("\n/* ======== {number}. {title} ======== */\n\n");
        text += section(root, file, &config).trim();
        text += "\n";
        if file == "config" {
            text += &defaults;
        }
    }
    text + "\n#endif /* DOWNHILL_H */\n"
}

fn section(root: &Path, file: &str, config: &cbindgen::Config) -> String {
    let mut text = Vec::new();
    cbindgen::Builder::new()
        .with_config(config.clone())
        .with_src(root.join(format!("src/{file}.rs")))
        .generate()
        .unwrap()
        .write(&mut text);
    String::from_utf8(text).unwrap()
}
