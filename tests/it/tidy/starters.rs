//! What exists twice on purpose: the parts that starters and examples share. Each folder has to work alone, so they are
//! copies, and these tests keep them the same.

use std::fs;

use super::root;

#[test]
fn the_starters_have_one_definition() {
    let definition =
        |lang: &str| fs::read_to_string(root().join(format!("runtime/starters/{lang}/connector.json")));
    for lang in ["js", "py", "go"] {
        assert_eq!(definition(lang).unwrap(), definition("rust").unwrap(), "{lang}");
    }
}

#[test]
fn examples_have_the_starters_own_code_around_them() {
    for (starter, example) in [("js", "notion-file"), ("py", "stripe-report")] {
        let ours = root().join(format!("runtime/starters/{starter}/portcullis"));
        let theirs = root().join(format!("examples/modules/{example}/portcullis"));
        let mut seen = 0;
        for entry in fs::read_dir(&ours).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let name = path.file_name().unwrap();
            assert_eq!(fs::read(&path).unwrap(), fs::read(theirs.join(name)).unwrap(), "{}", path.display());
            seen += 1;
        }
        assert!(seen > 1, "{starter}");
    }
}
