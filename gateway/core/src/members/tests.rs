use super::*;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).unwrap()
}

fn credential(n: u8, buf: &mut [u8; limits::CREDENTIAL]) -> Credential<'_> {
    let name = format!("n{n}");
    let len = Credential::encode(Name::new(&name).unwrap(), &key(n).public_key(), buf).unwrap();
    Credential::parse(&buf[..len]).unwrap()
}

fn members(store: &mut Store) -> Members {
    Members::new("site", Some(key(200)), None, None, store)
}

#[test]
fn each_change_is_a_new_version_that_the_site_has_signed() {
    let mut store = Store::new();
    let mut members = members(&mut store);
    let mut buf = [0; limits::CREDENTIAL];
    let one = credential(1, &mut buf);
    members.enrol(&mut store, 7, one, Role::Node).unwrap();
    members.enrol(&mut store, 8, one, Role::Node).unwrap();
    assert_eq!(members.version(), Revision(1));
    let roster = UnverifiedRoster::parse(members.bytes()).unwrap();
    assert!(roster.verify(&key(200).public_key()).is_ok());
    assert_eq!(members.role(one.id()), Some(Role::Node));
    members.revoke(&mut store, 9, one.id()).unwrap();
    assert_eq!((members.version(), members.role(one.id())), (Revision(2), None));
    assert_eq!(members.revoke(&mut store, 9, one.id()), Err(MembersError::Unknown));
}

#[test]
fn who_holds_the_version_before_is_told_what_has_changed_and_others_all() {
    let mut store = Store::new();
    let mut members = members(&mut store);
    let mut buf = [0; limits::CREDENTIAL];
    let one = credential(1, &mut buf);
    members.enrol(&mut store, 7, one, Role::Node).unwrap();
    members.enrol(&mut store, 7, credential(2, &mut [0; limits::CREDENTIAL]), Role::Node).unwrap();
    let before = members.bytes().to_vec();
    members.revoke(&mut store, 8, one.id()).unwrap();
    assert_eq!(members.since(Revision(1)), members.bytes());
    assert_eq!(members.since(Revision(3)), members.bytes());
    let delta = Delta::parse(members.since(Revision(2))).unwrap();
    let mut out = vec![0; LONGEST];
    let len = delta.apply(&Roster::from_trusted(&before).unwrap(), &mut out).unwrap();
    assert_eq!(&out[..len], members.bytes());
}

#[test]
fn a_full_roster_says_so_and_stays() {
    let mut store = Store::new();
    let mut members = members(&mut store);
    let mut entries = vec![0; LONGEST];
    let mut writer = EntriesWriter::new(&mut entries);
    let mut credentials = Vec::new();
    for n in 1..=limits::ROSTER_ENTRIES {
        let mut scalar = [2; 32];
        scalar[30..].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        let key = SigningKey::from_bytes(&scalar).unwrap();
        let mut bytes = vec![0; limits::CREDENTIAL];
        let name = format!("n{n}");
        let name = Name::new(&name).unwrap();
        let len = Credential::encode(name, &key.public_key(), &mut bytes).unwrap();
        bytes.truncate(len);
        credentials.push((key.id(), bytes));
    }
    credentials.sort();
    for (_, bytes) in &credentials {
        let credential = Credential::parse(bytes).unwrap();
        writer.push(&Entry { role: Role::Node, expires: u64::MAX, credential }).unwrap();
    }
    let head = writer.head(Name::new("site").unwrap(), Revision(5), 0);
    let mut signed = vec![0; LONGEST];
    let len = writer.sign(&head, &key(200), &mut signed).unwrap();
    signed.truncate(len);
    members.roster = signed.clone();
    let mut buf = [0; limits::CREDENTIAL];
    let one = credential(1, &mut buf);
    assert_eq!(members.enrol(&mut store, 7, one, Role::Node), Err(MembersError::Full));
    assert_eq!(members.bytes(), signed);
}

#[test]
fn without_the_key_nothing_changes() {
    let mut store = Store::new();
    let mut members = Members::new("site", None, None, None, &mut store);
    let mut buf = [0; limits::CREDENTIAL];
    let one = credential(1, &mut buf);
    let refused = members.enrol(&mut store, 7, one, Role::Node);
    assert_eq!(refused, Err(MembersError::NoSiteKey));
    assert!(members.credential().is_err());
}

#[test]
fn the_newer_of_two_rosters_counts_if_the_site_has_signed_it() {
    let mut store = Store::new();
    let mut members = members(&mut store);
    let mut buf = [0; limits::CREDENTIAL];
    members.enrol(&mut store, 7, credential(1, &mut buf), Role::Node).unwrap();
    let first = members.bytes().to_vec();
    let mut buf = [0; limits::CREDENTIAL];
    members.enrol(&mut store, 7, credential(2, &mut buf), Role::Node).unwrap();
    let second = members.bytes().to_vec();
    let both = |kept: &Vec<u8>, given: &Vec<u8>, site| {
        let mut store = Store::new();
        let (kept, given) = (Some(kept.clone()), Some(given.clone()));
        Members::new("site", Some(key(site)), kept, given, &mut store).version()
    };
    assert_eq!(both(&first, &second, 200), Revision(2));
    assert_eq!(both(&second, &first, 200), Revision(2));
    assert_eq!(both(&first, &second, 201), Revision(1));
}
