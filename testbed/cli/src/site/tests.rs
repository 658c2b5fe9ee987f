use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("capmesh-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_site_begins_with_an_operator_and_a_publisher() {
    let scratch = Scratch::new("begins");
    let made = Site::create(&scratch.0, "attic").unwrap();
    let site = Site::open(&scratch.0).unwrap();
    assert_eq!(site.roster(), made.roster());
    let members = site.members();
    let roles: BTreeMap<_, _> = members.iter().map(|m| (m.name.as_str(), m.role)).collect();
    assert_eq!(roles, BTreeMap::from([(OPERATOR, Role::Operator), (PUBLISHER, Role::Publisher)]));
    let operator = members.iter().find(|m| m.name == OPERATOR).unwrap();
    let identity = site.identity(OPERATOR).unwrap();
    assert_eq!(NodeId::of_key(identity.credential().public_key()), operator.id);
}

#[test]
fn versions_rise_with_every_change() {
    let scratch = Scratch::new("versions");
    let mut site = Site::create(&scratch.0, "attic").unwrap();
    let version = |site: &Site| Roster::from_trusted(site.roster()).unwrap().head().version;
    let first = version(&site);
    let id = site.make_member("gate", Role::Gateway).unwrap();
    assert!(version(&site) > first);
    assert!(site.make_member("gate", Role::Gateway).is_err());
    assert_eq!(site.revoke("gate").unwrap(), id);
    assert!(site.members().iter().all(|member| member.id != id));
    assert!(version(&site).0 == first.0 + 2);
}

#[test]
fn a_node_is_found_by_name_and_by_id() {
    let scratch = Scratch::new("found");
    let mut site = Site::create(&scratch.0, "attic").unwrap();
    let none = site.node("shed").unwrap_err().to_string();
    assert!(none.contains("capmesh direct adopt"), "{none}");
    let credential = Key::generate().credential("shed").unwrap();
    let id = site.enrol(&credential, Role::Node).unwrap();
    assert!(site.node("shed").unwrap_err().to_string().contains("capmesh direct at"));
    let address = "192.0.2.7:5683".parse().unwrap();
    site.set_address("shed", address).unwrap();
    let site = Site::open(&scratch.0).unwrap();
    assert_eq!(site.node("shed").unwrap(), (id, address));
    assert_eq!(site.node(&id.to_string()).unwrap(), (id, address));
    assert!(site.node("barn").unwrap_err().to_string().contains("shed"));
}

#[test]
fn a_name_belongs_to_one_key() {
    let scratch = Scratch::new("name");
    let mut site = Site::create(&scratch.0, "attic").unwrap();
    let [one, two] = [(); 2].map(|()| Key::generate().credential("shed").unwrap());
    site.enrol(&one, Role::Node).unwrap();
    assert!(site.enrol(&two, Role::Node).is_err());
    assert!(site.enrol(&one, Role::Node).is_ok());
}

#[test]
fn a_roster_that_the_site_did_not_sign_is_refused() {
    let scratch = Scratch::new("forged");
    Site::create(&scratch.0, "attic").unwrap();
    let path = scratch.0.join("roster");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(Site::open(&scratch.0).is_err());
    assert!(Site::create(&scratch.0, "attic").is_err());
}
