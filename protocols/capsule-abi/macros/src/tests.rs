//! What authors are told. That the macros' code does what it should is tested with the SDK.

use crate::files::OptionalPath;
use crate::{describe, handlers, log};
use std::path::PathBuf;
use std::process;

/// A description in a file of its own.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("capmesh-sdk-macros-{name}-{}.toml", process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> OptionalPath {
        syn::parse_str(&format!("{:?}", self.0.to_str().unwrap())).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const DESCRIPTION: &str = r#"
[capsule]
name = "a"
version = "1"
[[timer]]
name = "tick"
[[source]]
name = "big-button"
[[peer]]
name = "store"
services = [{ name = "put" }]
"#;

/// The messages of all errors.
fn errors(result: syn::Result<impl Sized>) -> Vec<String> {
    result.err().map_or_else(Vec::new, |error| error.into_iter().map(|e| e.to_string()).collect())
}

fn capsule(file: &File, block: &str) -> Vec<String> {
    errors(handlers::expand(&file.path(), &mut syn::parse_str(block).unwrap()))
        .iter()
        .map(|message| message.replace(file.0.to_str().unwrap(), "capsule.toml"))
        .collect()
}

const NEW: &str = "const fn new() -> Self { Self }";
const TICK: &str = "#[timer(tick)] fn tick(&mut self) {}";
const BUTTON: &str = "#[event(big_button)] fn button(&mut self, value: f64) {}";

#[test]
fn a_whole_capsule_has_no_errors() {
    let file = File::new("whole", DESCRIPTION);
    let reply = "#[reply(store.put)] fn put(&mut self, reply: Reply<()>) {}";
    let block = format!("impl A {{ {NEW} {TICK} {BUTTON} {reply} fn other(&self) {{}} }}");
    assert_eq!(capsule(&file, &block), [""; 0]);
    let quoted = BUTTON.replace("big_button", "\"big-button\"");
    assert_eq!(capsule(&file, &format!("impl A {{ {NEW} {TICK} {quoted} }}")), [""; 0]);
}

#[test]
fn names_that_are_not_there_are_named_with_what_was_meant() {
    let file = File::new("names", DESCRIPTION);
    let with =
        |handler: &str| capsule(&file, &format!("impl A {{ {NEW} {TICK} {BUTTON} {handler} }}"));
    let cases = [
        (
            "#[timer(tack)] fn a(&mut self) {}",
            "`tack` is not a timer in capsule.toml; did you mean `tick`?",
        ),
        ("#[on(reading)] fn a(&mut self, m: T) {}", "`reading` is not an input in capsule.toml"),
        ("#[on] fn a(&mut self, m: T) {}", "expected the name of an input: #[on(name)]"),
        (
            "#[reply(stor.put)] fn a(&mut self, r: R) {}",
            "`stor` is not a peer in capsule.toml; did you mean `store`?",
        ),
        (
            "#[reply(store.pot)] fn a(&mut self, r: R) {}",
            "`pot` is not what is asked of that peer in capsule.toml; did you mean `put`?",
        ),
        (
            "#[reply(store)] fn a(&mut self, r: R) {}",
            "expected a peer and its service: #[reply(peer.service)]",
        ),
        ("#[start(now)] fn a(&mut self) {}", "#[start] takes no name"),
        ("#[start] fn a(&mut self, x: u8) {}", "a handler of #[start] is `fn a(&mut self)`"),
        ("#[start] fn a() {}", "a handler of #[start] is `fn a(&mut self)`"),
        (
            "#[run] fn a(&mut self) {}",
            "a handler of #[run] is `fn a(&mut self, arguments: A) -> Result<R, Status>`",
        ),
        ("#[timer(tick)] fn again(&mut self) {}", "`tick` handles this already"),
    ];
    for (handler, expected) in cases {
        let found = with(handler);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{handler}: {found:?}");
    }
}

#[test]
fn what_is_left_out_is_named() {
    let file = File::new("left-out", DESCRIPTION);
    assert_eq!(
        capsule(&file, "impl A {}"),
        [
            "nothing handles a timer of the description: #[timer(tick)]",
            "nothing handles a source of the description: #[event(big_button)]",
            "a capsule has `const fn new() -> Self`: the state of a fresh instance",
        ]
    );
    let block = format!("impl T for A {{ {NEW} {TICK} {BUTTON} }}");
    assert_eq!(capsule(&file, &block), ["#[capsule] goes on the capsule's own impl block"]);
}

#[test]
fn faults_of_files_are_compile_errors_with_their_place() {
    let file =
        File::new("faults", "[capsule]\nname = \"a\"\nversion = \"1\"\n[[timer]]\nnam = \"x\"\n");
    let place = file.0.display();
    let found = errors(describe::expand(&file.path()));
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], format!("{place}:5:1: `[[timer]]` has no `nam`; did you mean `name`?"));
}

#[test]
fn lines_for_the_log_are_checked() {
    let line =
        |text: &str| errors(syn::parse_str::<log::Line>(text).and_then(|line| log::expand(&line)));
    assert_eq!(line(r#"info, "{} {{}} {a.b:.2}", 1"#), [""; 0]);
    let cases = [
        (
            r#"inf, "a""#,
            "`inf` is not a level: error, warning, info or debug; did you mean `info`?",
        ),
        (r#""a""#, "expected a level: error, warning, info or debug"),
        (r#"info, "{}""#, "there are more `{}` than arguments"),
        (r#"info, "a", b"#, "there is no `{}` for this argument"),
        (r#"info, "{a:?}""#, "only decimals can be given: `{:.2}`, 9 at most"),
        (r#"info, "{a""#, "a brace without its pair; write `{{` or `}}` for one of its own"),
        (r#"info, "}""#, "a brace without its pair; write `{{` or `}}` for one of its own"),
        (r#"info, "{f()}""#, "`f()` is neither a variable nor a field: give it as an argument"),
    ];
    for (text, expected) in cases {
        assert_eq!(line(text), [expected], "{text}");
    }
}
