//! Every input that once failed, and every seed, as a test that needs no fuzzer.

use std::path::Path;

/// Runs the files below `folder/<target>` through their targets.
fn run_all(folder: &str) -> usize {
    let mut count = 0;
    for (name, run) in capmesh_fuzz::targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
        let Ok(files) = std::fs::read_dir(&folder) else { continue };
        for file in files {
            let path = file.expect("the folder can be read").path();
            println!("{}", path.display());
            run(&std::fs::read(&path).expect("the file can be read"));
            count += 1;
        }
    }
    count
}

#[test]
fn what_once_failed_is_mended() {
    run_all("regressions");
}

#[test]
fn seeds_pass() {
    assert!(run_all("corpus") > 0, "there are seeds");
}
