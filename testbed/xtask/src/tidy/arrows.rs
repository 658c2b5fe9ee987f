//! Who may use whom.

use std::collections::BTreeMap;

use crate::workspace::Package;

/// Each crate with the crates of the workspace it may use. `*` is any crate below it.
///
/// A new crate gets a line here; the order of the lines follows the house.
const ARROWS: &[(&str, &[&str])] = &[
    ("capmesh-wire", &[]),
    ("capmesh-coap", &["capmesh-wire"]),
    ("capmesh-oscore", &["capmesh-coap", "capmesh-wire"]),
    ("capmesh-session", &["capmesh-coap", "capmesh-oscore", "capmesh-wire"]),
    ("capmesh-blob", &["capmesh-wire"]),
    ("capmesh-transfer", &["capmesh-blob", "capmesh-coap", "capmesh-oscore", "capmesh-wire"]),
    ("capmesh-capsule-abi", &["capmesh-wire"]),
    ("capmesh-description", &["capmesh-wire"]),
    ("capmesh-sdk-macros", &["capmesh-capsule-abi", "capmesh-description", "capmesh-wire"]),
    ("capmesh-sdk", &["capmesh-capsule-abi", "capmesh-sdk-macros"]),
    ("capmesh-keyfile", &["capmesh-wire"]),
    (
        "capmesh-node",
        &["capmesh-blob", "capmesh-coap", "capmesh-session", "capmesh-transfer", "capmesh-wire"],
    ),
    ("capmesh-runtime", &["capmesh-capsule-abi", "capmesh-node", "capmesh-wire"]),
    ("capmesh-shell", &["capmesh-node", "capmesh-wire"]),
    (
        "capmesh-capsule",
        &[
            "capmesh-blob",
            "capmesh-capsule-abi",
            "capmesh-description",
            "capmesh-keyfile",
            "capmesh-runtime",
            "capmesh-wire",
        ],
    ),
    (
        "capmesh-node-linux",
        &[
            "capmesh-coap",
            "capmesh-description",
            "capmesh-node",
            "capmesh-runtime",
            "capmesh-session",
            "capmesh-shell",
            "capmesh-wire",
        ],
    ),
    ("capmesh-placement", &["capmesh-wire"]),
    (
        "capmesh-gateway",
        &[
            "capmesh-blob",
            "capmesh-coap",
            "capmesh-description",
            "capmesh-placement",
            "capmesh-session",
            "capmesh-transfer",
            "capmesh-wire",
        ],
    ),
    (
        "capmesh-gatewayd",
        &[
            "capmesh-coap",
            "capmesh-gateway",
            "capmesh-keyfile",
            "capmesh-placement",
            "capmesh-session",
            "capmesh-wire",
        ],
    ),
    ("capmesh-client", &["capmesh-gateway", "capmesh-placement", "capmesh-wire"]),
    ("capmesh-registry-store", &["capmesh-blob", "capmesh-wire"]),
    (
        "capmesh-registry",
        &[
            "capmesh-blob",
            "capmesh-capsule-abi",
            "capmesh-coap",
            "capmesh-keyfile",
            "capmesh-keyfile",
            "capmesh-registry-store",
            "capmesh-session",
            "capmesh-transfer",
            "capmesh-wire",
        ],
    ),
    ("capmesh-bench", ANY_BELOW),
    ("capmesh-interop", ANY_BELOW),
    ("capmesh-sim", ANY_BELOW),
    ("capmesh-emulator", ANY_BELOW),
    ("capmesh", ANY_BELOW),
    ("capmesh-coap-pair", ANY_BELOW),
    ("xtask", &[]),
];

const ANY_BELOW: &[&str] = &["*"];

/// The folders of the house, from the ground up: a crate never uses one above its own, and never
/// one beside it that has the same height.
const HEIGHTS: &[(&str, usize)] = &[
    ("protocols", 0),
    ("node", 1),
    ("gateway", 1),
    ("capsule-registry", 1),
    ("examples", 2),
    ("testbed", 3),
];

/// Names every dependency that is not allowed and every crate that is in no table.
pub(crate) fn check(packages: &BTreeMap<String, Package>) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages.values() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            faults.push(format!(
                "{}: not in the table of testbed/xtask/src/tidy/arrows.rs",
                package.name
            ));
            continue;
        };
        for used in &package.uses {
            let Some(target) = packages.get(&used.name) else { continue };
            // Tests may use more than the table says, as long as they do not look up.
            let listed = used.dev || *allowed == ANY_BELOW || allowed.contains(&used.name.as_str());
            if !listed || !may_look_at(&package.folder, &target.folder) {
                let how = if used.dev { "its tests must not use" } else { "must not use" };
                faults.push(format!("{}: {how} {}", package.name, used.name));
            }
        }
    }
    faults
}

/// Whether a crate in one folder may know one in the other, whatever the table says.
fn may_look_at(user: &str, used: &str) -> bool {
    let top = |folder: &str| folder.split('/').next().map(str::to_owned);
    let height = |folder: &str| {
        let top = top(folder)?;
        HEIGHTS.iter().find(|(name, _)| *name == top).map(|(_, height)| *height)
    };
    match (height(user), height(used)) {
        (Some(above), Some(below)) => above > below || top(user) == top(used),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Use;

    /// Name, folder, and what it uses: `true` for its tests only.
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, bool)]);

    fn house(crates: &[Row<'_>]) -> BTreeMap<String, Package> {
        let package = |(name, folder, uses): &Row<'_>| Package {
            name: (*name).to_owned(),
            folder: (*folder).to_owned(),
            features: Vec::new(),
            uses: uses
                .iter()
                .map(|(name, dev)| Use { name: (*name).to_owned(), dev: *dev })
                .collect(),
        };
        crates.iter().map(package).map(|package| (package.name.clone(), package)).collect()
    }

    const WIRE: Row<'_> = ("capmesh-wire", "protocols/wire", &[]);

    #[test]
    fn allowed_arrows_pass() {
        let house = house(&[
            WIRE,
            ("capmesh-coap", "protocols/coap", &[("capmesh-wire", false)]),
            (
                "capmesh-interop",
                "testbed/interop",
                &[("capmesh-coap", false), ("capmesh-wire", true)],
            ),
        ]);
        assert_eq!(check(&house), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_named() {
        let house = house(&[
            WIRE,
            ("capmesh-coap", "protocols/coap", &[]),
            ("capmesh-blob", "protocols/blob", &[("capmesh-coap", false)]),
        ]);
        assert_eq!(check(&house), ["capmesh-blob: must not use capmesh-coap"]);
    }

    #[test]
    fn a_crate_without_a_line_is_named() {
        let house = house(&[("capmesh-new", "protocols/new", &[])]);
        assert_eq!(check(&house).len(), 1);
        assert!(check(&house)[0].starts_with("capmesh-new: not in the table"));
    }

    #[test]
    fn tests_may_use_their_neighbours_but_not_look_up() {
        let beside = house(&[WIRE, ("capmesh-blob", "protocols/blob", &[("capmesh-wire", true)])]);
        assert!(check(&beside).is_empty());
        let up = house(&[
            ("capmesh-wire", "protocols/wire", &[("capmesh-interop", true)]),
            ("capmesh-interop", "testbed/interop", &[]),
        ]);
        assert_eq!(check(&up), ["capmesh-wire: its tests must not use capmesh-interop"]);
    }

    #[test]
    fn houses_of_one_height_do_not_know_each_other() {
        let house = house(&[
            ("capmesh-gateway", "gateway/core", &[("capmesh-node", true)]),
            ("capmesh-node", "node/core", &[]),
        ]);
        assert_eq!(check(&house), ["capmesh-gateway: its tests must not use capmesh-node"]);
    }
}
