//! Makes `capsule.h` or `capsule.ts` beside each `capsule.toml` that is named, as its language needs.

use capmesh_description::Description;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let description = Description::read(Path::new(&path))?;
        if let Some((file, text)) = description.generated() {
            std::fs::write(file, text)?;
        }
    }
    Ok(())
}
