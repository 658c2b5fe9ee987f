//! Who belongs to a site.

use super::Context;
use crate::{aiocoap, site};
use anyhow::{Context as _, Result, ensure};
use capmesh_wire::Role;
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Site {
    /// Make a site with an operator and a publisher.
    Init {
        /// What it is called.
        #[arg(long, default_value = "home")]
        name: String,
    },
    /// List everybody on the roster.
    Ls,
    /// Make a key for somebody else and put them on the roster.
    Add {
        /// What they are called.
        name: String,
        /// What they may do: node, gateway, registry, operator or publisher.
        #[arg(long)]
        role: String,
    },
    /// Write the key of a member whose key is here, and the nodes' credentials, for aiocoap-client.
    Export {
        /// What the member is called.
        #[arg(default_value = site::OPERATOR)]
        name: String,
        /// The directory for the files.
        #[arg(long, default_value = ".")]
        to: PathBuf,
    },
    /// Take somebody off the roster. Nodes learn of it when they are told the roster.
    Revoke {
        /// What they are called.
        name: String,
    },
}

pub(super) fn run(at: &Context, command: &Site) -> Result<()> {
    match command {
        Site::Init { name } => {
            site::Site::create(&at.directory, name)?;
            let directory = at.directory.display();
            if at.json {
                println!("{}", json!({ "site": name, "directory": directory.to_string() }));
            } else {
                println!("site {name:?} in {directory}, with an operator and a publisher");
                println!("next, to run a gateway and a registry here, put them on the roster:");
                println!("  capmesh site add gateway --role gateway");
                println!("  capmesh site add registry --role registry");
                println!(
                    "or start a node (capmesh node run), and adopt it by the claim it prints:"
                );
                println!("  capmesh direct adopt CLAIM --at ADDRESS");
            }
        }
        Site::Ls => {
            for member in at.site()?.members() {
                let address = member.address.map(|address| address.to_string());
                if at.json {
                    let (id, role) = (member.id.to_string(), member.role.name());
                    println!(
                        "{}",
                        json!({ "name": member.name, "id": id, "role": role, "address": address })
                    );
                } else {
                    let address = address.unwrap_or_default();
                    println!("{:<23} {} {:<9} {address}", member.name, member.id, member.role);
                }
            }
        }
        Site::Add { name, role } => {
            let role = Role::from_name(role).with_context(|| {
                let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
                format!("{role:?} is not a role; roles are {}", names.join(", "))
            })?;
            ensure!(role != Role::Node, "a node has its own key; `capmesh direct adopt` adds it");
            let id = at.site()?.make_member(name, role)?;
            let json = json!({ "name": name, "id": id.to_string(), "role": role.name() });
            at.say(&json, &format!("{name} is {id}, with the role `{role}`"));
        }
        Site::Export { name, to } => {
            let file = aiocoap::export(&at.site()?, name, to)?;
            let file = file.display().to_string();
            let text = format!("aiocoap-client --credentials {file} coap://ADDRESS/s");
            at.say(&json!({ "file": file }), &text);
        }
        Site::Revoke { name } => {
            let id = at.site()?.revoke(name)?;
            let text =
                format!("{name} ({id}) is off the roster; `capmesh direct sync` tells the nodes");
            at.say(&json!({ "name": name, "id": id.to_string() }), &text);
        }
    }
    Ok(())
}
