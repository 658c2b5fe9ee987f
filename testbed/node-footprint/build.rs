//! Lays the image out, and makes what the site of the node image consists of: the roster, two
//! capsules, plans and commands, signed as a site's people would.

#[path = "build/capsules.rs"]
mod capsules;
#[path = "build/site.rs"]
mod site;

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-link-search={}", env!("CARGO_MANIFEST_DIR"));
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rerun-if-changed=memory.x");
    println!("cargo::rerun-if-changed=build");
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    for (name, bytes) in site::files()? {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
