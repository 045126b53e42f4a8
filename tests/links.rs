//! Every link of the documents leads somewhere: to a file of this project, and a heading in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    for directory in [root.to_owned(), root.join("docs"), root.join("data")] {
        let entries = fs::read_dir(&directory).expect("the project's directory");
        let paths = entries.map(|entry| entry.expect("a directory that can be read").path());
        documents
            .extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    documents
}

/// What is between `](` and `)`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if !is_code {
            links.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    links
}

/// The names of a document's headings, as links have them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let name = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(name).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    assert!(documents.len() > 5, "{documents:?}");
    let mut checked = 0;
    for document in &documents {
        let text = fs::read_to_string(document).expect("UTF-8");
        for link in links(&text).into_iter().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let directory = document.parent().expect("a file");
            let target = if file.is_empty() { document.clone() } else { directory.join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", document.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(&target).expect("UTF-8");
                let names = anchors(&target);
                assert!(
                    names.iter().any(|name| name == anchor),
                    "{}: {link}: {names:?}",
                    document.display()
                );
            }
            checked += 1;
        }
    }
    println!("{checked} links in {} documents", documents.len());
    assert!(checked > 5);
}
