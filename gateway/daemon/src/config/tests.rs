use super::*;

fn read(toml: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, toml).unwrap();
    Config::read(Some(&file), &[])
}

#[test]
fn the_example_says_what_is_usual() {
    let text = include_str!("../../capmesh-gateway.example.toml");
    assert_eq!(read(text).unwrap(), Config::default());
    // Every line that is commented out is one that could stand there.
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("#= ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let config = read(&all).unwrap();
    assert!(config.registry.is_some() && config.http.token.is_some() && config.mqtt.ca.is_some());
    assert!(config.broker.credentials().is_some() && config.state.is_some());
    assert_eq!(config.registries.len(), 1);
}

#[test]
fn the_command_line_goes_before_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, "name = \"a\"\n[http]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let flags = [("http.listen", "127.0.0.1:2".to_owned())];
    let config = Config::read(Some(&file), &flags).unwrap();
    assert_eq!((config.name.as_str(), config.http.listen.port()), ("a", 2));
}

#[test]
fn mistakes_are_named() {
    for (toml, said) in [
        ("nmae = \"a\"", "nmae"),
        ("listen = \"everywhere\"", "`listen`: invalid socket address"),
        ("[registries]\nbackup = \"there\"", "`registries.backup`: invalid socket address"),
        ("[registries]\nbackup = \"there\"", "gateway.toml"),
        ("[mqtt]\nbroker = \"localhost\"", "not a broker"),
        ("[mqtt]\nbroker = \"mqtt://a:b\"", "not a port"),
        ("[mqtt]\nbroker = \"mqtt://user:secret@a\"", "mqtt.user"),
        ("[mqtt]\npassword = \"x\"", "needs `mqtt.user`"),
        ("[mqtt]\nkey = \"x\"", "go together"),
    ] {
        let error = read(toml).unwrap_err().to_string();
        assert!(error.contains(said), "{toml}: {error}");
    }
    let missing = Config::read(Some(Path::new("/nowhere/gateway.toml")), &[]).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/gateway.toml"), "{missing}");
}

#[test]
fn nobody_is_let_in_without_being_asked() {
    for open in [
        "[http]\nlisten = \"0.0.0.0:8080\"",
        "[broker]\nlisten = \"0.0.0.0:1883\"",
        "[broker]\nwebsocket = \"[::]:8083\"",
    ] {
        let error = read(open).unwrap_err();
        assert!(matches!(error, ConfigError::Open { .. }), "{open}: {error}");
    }
    for asked in [
        "[http]\nlisten = \"0.0.0.0:8080\"\ntoken = \"t\"",
        "[broker]\nlisten = \"0.0.0.0:1883\"\nuser = \"u\"\npassword = \"p\"",
        "[broker]\nlisten = \"0.0.0.0:1883\"\n[mqtt]\nbroker = \"mqtt://elsewhere\"",
    ] {
        read(asked).unwrap();
    }
}

#[test]
fn brokers_are_read() {
    let external = |host: &str, port, tls| Target::External { host: host.to_owned(), port, tls };
    for (text, target) in [
        ("embedded", Target::Embedded),
        ("none", Target::None),
        ("mqtt://a", external("a", 1883, false)),
        ("mqtts://a/", external("a", 8883, true)),
        ("mqtt://10.0.0.1:1884", external("10.0.0.1", 1884, false)),
        ("mqtt://[::1]:1884", external("[::1]", 1884, false)),
        ("mqtt://[::1]", external("[::1]", 1883, false)),
    ] {
        assert_eq!(Target::try_from(text.to_owned()), Ok(target), "{text}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = read("[http]\ntoken = \"hush\"").unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    assert_eq!(config.http.token.unwrap().expose(), "hush");
}
