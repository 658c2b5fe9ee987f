//! Mistakes in a text, shown where they stand.

use capmesh_client::api::Mistake;
use std::fmt::Write as _;

/// Appends a mistake: its place, the line of `sent` with what is meant underlined, what is wrong, and
/// what was probably meant. Without the line, the first and the last of that.
pub(super) fn show(text: &mut String, mistake: &Mistake, sent: &str) {
    let Mistake { line, column, length, message, .. } = mistake;
    let file = mistake.file.as_deref().unwrap_or("pipeline");
    let nearest = mistake.nearest.iter().map(|nearest| format!("did you mean `{nearest}`?"));
    let help = nearest.chain(mistake.help.clone());
    let number = usize::try_from(*line).unwrap_or_default();
    let shown = number.checked_sub(1).and_then(|before| sent.lines().nth(before));
    // Writing to a string never fails.
    let Some(shown) = shown else {
        let place = if *line > 0 { format!("{file}:{line}:{column}") } else { file.to_owned() };
        let _ = write!(text, "\n  {place}: {message}");
        for help in help {
            let _ = write!(text, "; {help}");
        }
        return;
    };
    let margin = " ".repeat(number.to_string().len());
    let shown: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
    let room = shown.chars().count().saturating_sub(before).max(1);
    let marks = "^".repeat(usize::try_from(*length).unwrap_or(1).clamp(1, room));
    let indent = " ".repeat(before.min(shown.chars().count()));
    let _ = write!(text, "\n {margin}--> {file}:{line}:{column}\n {margin} |");
    let _ = write!(text, "\n {number} | {shown}\n {margin} | {indent}{marks} {message}");
    for help in help {
        let _ = write!(text, "\n {margin} = {help}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake() -> Mistake {
        Mistake {
            file: Some("city.toml".to_owned()),
            line: 10,
            column: 7,
            length: 13,
            code: "unknown-capsule".to_owned(),
            message: "the registry has no `city/clan:1`".to_owned(),
            help: None,
            nearest: Some("city/clean:1".to_owned()),
        }
    }

    fn shown(mistake: &Mistake, sent: &str) -> String {
        let mut text = String::new();
        show(&mut text, mistake, sent);
        text
    }

    #[test]
    fn what_is_meant_is_underlined() {
        let sent = "\n".repeat(9) + "use\t= \"city/clan:1\"\n";
        assert_eq!(
            shown(&mistake(), &sent),
            "
   --> city.toml:10:7
    |
 10 | use = \"city/clan:1\"
    |       ^^^^^^^^^^^^^ the registry has no `city/clan:1`
    = did you mean `city/clean:1`?"
        );
        let last = Mistake { column: 19, length: 40, ..mistake() };
        assert!(
            shown(&last, &sent).contains(" | use = \"city/clan:1\"\n    |                   ^ the")
        );
    }

    #[test]
    fn without_the_line_the_place_is_said() {
        let place =
            "\n  city.toml:10:7: the registry has no `city/clan:1`; did you mean `city/clean:1`?";
        assert_eq!(shown(&mistake(), ""), place);
        let whole = Mistake { line: 0, column: 0, nearest: None, ..mistake() };
        assert_eq!(shown(&whole, "text"), "\n  city.toml: the registry has no `city/clan:1`");
    }
}
