//! What Tab offers: names of commands, options and arguments, from the commands' declarations.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::service::supervisor::ProgramState;

use crate::command::arguments::Walk;
use crate::command::{COMMANDS, Kind, SHARE_SERVICE, find};
use crate::editor::Offer;
use crate::objects::PMEM_SERVICE;
use crate::parser::{AtCursor, at_cursor, escape, open_quote};
use crate::system::System;

/// The offer for a line up to its cursor. Names that only the system knows are asked for; if it
/// does not answer, there are none.
pub fn complete(before: &str, system: &mut dyn System) -> Offer {
    let Some(cursor) = at_cursor(before) else {
        return Offer { start: before.len(), text: String::new(), candidates: Vec::new() };
    };
    let mut candidates = candidates(&cursor, system);
    candidates.retain(|candidate| candidate.starts_with(&cursor.prefix));
    candidates.sort_unstable();
    candidates.dedup();
    let typed = before.get(cursor.start..).unwrap_or_default();
    Offer { start: cursor.start, text: replacement(&cursor, typed, &candidates), candidates }
}

fn candidates(cursor: &AtCursor, system: &mut dyn System) -> Vec<String> {
    let Some((name, words)) = cursor.before.split_first() else { return command_names() };
    let Some(command) = find(name) else { return Vec::new() };
    let expected = Walk::new(command).over(words);
    let mut candidates = match expected.value {
        Some(argument) => values(argument.kind, &cursor.prefix, system),
        None => Vec::new(),
    };
    if cursor.prefix.starts_with('-') || candidates.is_empty() {
        candidates.extend(expected.flags.iter().map(|flag| flag.name.to_string()));
    }
    candidates
}

fn values(kind: Kind, prefix: &str, system: &mut dyn System) -> Vec<String> {
    match kind {
        Kind::Command => command_names(),
        Kind::Program => {
            system.programs().unwrap_or_default().into_iter().map(|p| p.name).collect()
        }
        Kind::Service => {
            system.services().unwrap_or_default().into_iter().map(|s| s.name).collect()
        }
        Kind::Core => {
            system.cores().unwrap_or_default().into_iter().map(|c| c.core.to_string()).collect()
        }
        Kind::Shared => shared_paths(prefix, system),
        Kind::Object => object_paths(prefix, system),
        Kind::Choice(words) => words.iter().map(|word| word.to_string()).collect(),
        Kind::Count | Kind::Number | Kind::Text => Vec::new(),
    }
}

/// What is in the directory that a path begins with. A machine without a share is not asked.
fn shared_paths(prefix: &str, system: &mut dyn System) -> Vec<String> {
    let services = system.services().unwrap_or_default();
    let mut services = services.iter().filter(|service| service.name == SHARE_SERVICE);
    if services.all(|service| service.state != ProgramState::Running) {
        return Vec::new();
    }
    let directory = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    let entries = system.host_files(directory).unwrap_or_default();
    entries.into_iter().map(|entry| format!("{directory}{}", entry.name)).collect()
}

/// What is in the directory of objects that a path begins with. A machine without them is not asked.
fn object_paths(prefix: &str, system: &mut dyn System) -> Vec<String> {
    let services = system.services().unwrap_or_default();
    let mut services = services.iter().filter(|service| service.name == PMEM_SERVICE);
    if services.all(|service| service.state != ProgramState::Running) {
        return Vec::new();
    }
    let (directory, before) = match prefix.rsplit_once('/') {
        Some((directory, _)) => (directory, format!("{directory}/")),
        None => ("", String::new()),
    };
    let names = system.objects(directory).unwrap_or_default();
    names.into_iter().map(|named| format!("{before}{}", named.name)).collect()
}

fn command_names() -> Vec<String> {
    COMMANDS.iter().map(|command| command.name.to_string()).collect()
}

/// The text for the typed word's place: the only candidate with a blank behind it, or as far as
/// all candidates agree; the word as it is where they agree on no more than that.
fn replacement(cursor: &AtCursor, typed: &str, candidates: &[String]) -> String {
    if let [only] = candidates {
        return whole(cursor, only);
    }
    let shared = shared_prefix(candidates);
    if shared.len() <= cursor.prefix.len() {
        return typed.to_string();
    }
    match cursor.quote {
        Some(quote) => open_quote(shared, quote),
        None => escape(shared),
    }
}

fn whole(cursor: &AtCursor, name: &str) -> String {
    let mut text = match cursor.quote {
        Some(quote) => {
            let mut text = open_quote(name, quote);
            text.push(quote.mark());
            text
        }
        None => escape(name),
    };
    text.push(' ');
    text
}

fn shared_prefix(candidates: &[String]) -> &str {
    let Some((first, rest)) = candidates.split_first() else { return "" };
    rest.iter().fold(first.as_str(), |shared, candidate| {
        let same = shared.chars().zip(candidate.chars()).take_while(|(a, b)| a == b);
        let length = same.map(|(c, _)| c.len_utf8()).sum();
        shared.get(..length).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn offered(before: &str) -> (String, Vec<String>) {
        let offer = complete(before, &mut Fake::default());
        let mut line = before[..offer.start].to_string();
        line.push_str(&offer.text);
        (line, offer.candidates)
    }

    #[test]
    fn commands_at_the_start_of_each_command() {
        assert_eq!(offered("ver").0, "version ");
        assert_eq!(offered("ps; ver").0, "ps; version ");
        assert_eq!(offered("c"), ("c".into(), ["caps", "clear", "cores"].map(String::from).into()));
        assert_eq!(offered("nonsense "), ("nonsense ".into(), vec![]));
        assert_eq!(offered("# ver").1, Vec::<String>::new());
    }

    #[test]
    fn arguments_by_their_kind() {
        assert_eq!(offered("kill ua").0, "kill uart ");
        assert_eq!(offered("svc sup").0, "svc supervisor ");
        assert_eq!(offered("help po").0, "help poweroff ");
        assert_eq!(offered("fault st").0, "fault stack ");
        assert_eq!(offered("ps u").1, Vec::<String>::new());
        assert_eq!(offered("echo u").1, Vec::<String>::new());
    }

    #[test]
    fn paths_of_objects() {
        let objects = ["notes", "dir", "dir/a", "dir/b"].map(|path| (path.to_string(), None));
        let mut fake = Fake { objects: Some(objects.into()), ..Fake::default() };
        let mut offered = |before: &str| complete(before, &mut fake).candidates;
        assert_eq!(offered("obj get n"), ["notes"]);
        assert_eq!(offered("obj get dir/"), ["dir/a", "dir/b"]);
        assert_eq!(offered("obj link notes d"), ["dir"]);
        assert_eq!(complete("obj get n", &mut Fake::default()).candidates, Vec::<String>::new());
    }

    #[test]
    fn paths_of_the_host() {
        let offered = |before: &str| complete(before, &mut Fake::with_share()).candidates;
        assert_eq!(offered("share ls s"), ["sub"]);
        assert_eq!(offered("share get sub/"), ["sub/a", "sub/b"]);
        assert_eq!(offered("fetch -o sub/b"), ["sub/b"]);
        assert_eq!(complete("share ls s", &mut Fake::default()).candidates, Vec::<String>::new());
    }

    #[test]
    fn options_and_their_values() {
        assert_eq!(offered("log --l").0, "log --level ");
        assert_eq!(offered("log ").1, ["--level", "-n"]);
        assert_eq!(offered("log --level w").0, "log --level warn ");
        assert_eq!(offered("log -n ").1, Vec::<String>::new());
    }

    #[test]
    fn an_open_quote_is_kept_and_closed() {
        assert_eq!(offered("kill \"ua").0, "kill \"uart\" ");
        assert_eq!(offered("kill 'con").0, "kill 'console' ");
    }
}
