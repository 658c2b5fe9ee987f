extern crate std;

use super::*;
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

fn written(filter: &str, links: &[(&[&str], Attributes<'_>)]) -> String {
    let mut out = String::new();
    let mut matches = |path: &[&str], attributes: &Attributes<'_>| {
        filter.is_empty() || Filter::parse(filter).matches(path, attributes)
    };
    let mut writer = LinkWriter::new(&mut out, &mut matches);
    for (path, attributes) in links {
        writer.link(path, attributes).unwrap();
    }
    out
}

#[test]
fn every_attribute_is_written() {
    let all = Attributes {
        resource_type: "temperature-c core.s",
        interface: "sensor",
        content_formats: &[0, 41],
        title: "say \"hi\" \\",
        size: Some(1280),
        observable: true,
        other: &[("foo", "bar"), ("flag", "")],
    };
    let one = Attributes { content_formats: &[40], ..Attributes::default() };
    assert_eq!(
        written(
            "",
            &[(&["sensors/temp"], all), (&["päth", "a b"], one), (&[""], Attributes::default())]
        ),
        "</sensors/temp>;rt=\"temperature-c core.s\";if=\"sensor\";title=\"say \\\"hi\\\" \\\\\";\
         foo=\"bar\";flag;ct=\"0 41\";sz=1280;obs,</p%C3%A4th/a%20b>;ct=40,</>"
    );
}

#[test]
fn filters_select_as_rfc_6690_says() {
    let attributes = Attributes {
        resource_type: "Type1 Type2",
        interface: "If1",
        content_formats: &[0, 40],
        title: "two words",
        size: Some(1280),
        observable: true,
        other: &[("foo", "bar baz")],
    };
    let shown = |filter| !written(filter, &[(&["link1", "x"], attributes)]).is_empty();
    for filter in [
        "",
        "rt=Type2",
        "rt=Type*",
        "rt=*",
        "rt",
        "rt=Type1 Type2",
        "if=If*",
        "ct=40",
        "ct=4*",
        "sz=*",
        "sz=1280",
        "title=two words",
        "title=two*",
        "foo=baz",
        "obs",
        "href=/link1/x",
        "href=/link*",
        "href=*",
    ] {
        assert!(shown(filter), "{filter}");
    }
    for filter in [
        "rt=Type",
        "rt=Type3",
        "rt=ype1",
        "rt=",
        "if=if1",
        "ct=4",
        "sz=12",
        "title=words",
        "foo=b",
        "bar=*",
        "obs=1",
        "href=/link1",
        "href=/link1/x/",
        "href=",
    ] {
        assert!(!shown(filter), "{filter}");
    }
    let bare = |filter| written(filter, &[(&["a"], Attributes::default())]);
    assert_eq!((bare("rt=*"), bare("sz"), bare("href=/a")), ("".into(), "".into(), "</a>".into()));
}

fn read(text: &str) -> Result<Vec<Link<'_>>, BadLink> {
    Links::new(text).collect()
}

#[test]
fn the_examples_of_rfc_6690_are_read() {
    let text = "</sensors>;ct=40;title=\"Sensor Index\",</sensors/temp>;rt=\"temperature-c\";\
                if=\"sensor\",<http://www.example.com/sensors/t123>;anchor=\"/sensors/temp\"\
                ;rel=\"describedby\",</t>;anchor=\"/sensors/temp\";rel=\"alternate\"";
    let links = read(text).unwrap();
    let targets: Vec<_> = links.iter().map(|link| link.target).collect();
    let example = "http://www.example.com/sensors/t123";
    assert_eq!(targets, ["/sensors", "/sensors/temp", example, "/t"]);
    assert!(links[0].param("ct").unwrap() == "40");
    assert!(links[0].param("title").unwrap() == "Sensor Index");
    assert_eq!(links[0].param("title").unwrap().words().collect::<Vec<_>>(), ["Sensor", "Index"]);
    assert_eq!(links[2].params().map(|(name, _)| name).collect::<Vec<_>>(), ["anchor", "rel"]);
    assert_eq!(read(""), Ok(Vec::new()));
    let spaced = read(" </a> ; obs ; sz = 1").unwrap_err();
    assert_eq!(spaced, BadLink, "no blanks around the equals sign");
    let spaced = read(" </a> ; obs ;sz=1 , <b;,>;t=\"x,;\\\"\"\n").unwrap();
    assert!(spaced[0].param("obs").unwrap() == "" && spaced[0].param("sz").unwrap() == "1");
    assert!(spaced[1].target == "b;," && spaced[1].param("t").unwrap() == "x,;\"");
}

#[test]
fn what_is_not_a_link_is_refused_once() {
    for bad in [
        "x",
        "<",
        "<a",
        "<a>,",
        "<a>;",
        "<a>;;x",
        "<a>;x=",
        "<a>;x=\"",
        "<a>;x=\"\\\"",
        "<a> <b>",
        "<a>;x=a\"b",
    ] {
        let mut links = Links::new(bad);
        let errors = links.by_ref().filter(Result::is_err).count();
        assert_eq!((errors, links.next()), (1, None), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[<>;,=\"\\\\ a*é]{0,40}") {
        for link in Links::new(&text).flatten() {
            for (_, value) in link.params() {
                let _ = value.chars().count() + value.words().count();
            }
        }
    }

    #[test]
    fn what_is_written_is_read(
        links in proptest::collection::vec(("[^/]{1,8}", ".{0,12}", "[a-z ]{0,9}", any::<Option<u32>>()), 0..5),
    ) {
        let with = |(path, title, rt, size): &(String, String, String, Option<u32>)| {
            (path.clone(), title.clone(), rt.clone(), *size)
        };
        let owned: Vec<_> = links.iter().map(with).collect();
        let paths: Vec<[&str; 1]> = owned.iter().map(|link| [link.0.as_str()]).collect();
        let described: Vec<(&[&str], Attributes<'_>)> = owned.iter().zip(&paths).map(|(link, path)| {
            let (title, resource_type) = (link.1.as_str(), link.2.as_str());
            (&path[..], Attributes { title, resource_type, size: link.3, ..Attributes::default() })
        }).collect();
        let text = written("", &described);
        let read = read(&text).unwrap();
        prop_assert_eq!(read.len(), links.len());
        for (link, (_, attributes)) in read.iter().zip(&described) {
            let title: Option<String> = link.param("title").map(|value| value.chars().collect());
            prop_assert_eq!(title.unwrap_or_default(), attributes.title);
            let size = link.param("sz").and_then(|value| value.raw().parse().ok());
            prop_assert_eq!(size, attributes.size);
        }
    }
}
