//! `obj search`, `count` and `reduce`: work that the object server does where the bytes lie.

use alloc::format;
use alloc::string::String;

use libd3os::object::operators::{Operator, Outcome, Pattern};
use libd3os::service::pmem::PmemError;
use libd3os::store::StoreError;

use super::super::{Argument, CommandError, Kind, Presence, arguments::Problem};
use crate::objects::{Meant, Worked};
use crate::session::Session;
use crate::style::Role;
use crate::system::SystemError;
use crate::units::counted;

/// Places that are listed.
const MOST_PLACES: u32 = 100;
const WORD_BYTES: u64 = 8;

const HOW: Argument = Argument {
    name: "HOW",
    kind: Kind::Choice(&["sum", "least", "greatest"]),
    presence: Presence::Required,
    about: "what `reduce` makes of all words",
};

/// Carries an action out, by the words that follow the path.
pub(super) fn run(
    session: &mut Session<'_>,
    path: &str,
    action: &str,
    words: &[String],
) -> Result<(), CommandError> {
    let work = work(action, words)?;
    let worked = session.system.work_on_object(path, &work)?;
    tell(session, action, words, &worked);
    Ok(())
}

fn work(action: &str, words: &[String]) -> Result<Operator, CommandError> {
    let pattern = || {
        let pattern = Pattern::new(words.join(" ").as_bytes());
        pattern.map_err(|error| SystemError::from(StoreError::Refused(PmemError::Operator(error))))
    };
    match (action, words) {
        ("search", _) => Ok(Operator::Search { pattern: pattern()?, limit: MOST_PLACES }),
        ("count", _) => Ok(Operator::Count(pattern()?)),
        (_, [how]) => reduction(how),
        _ => Err(super::missing(HOW)),
    }
}

fn reduction(how: &str) -> Result<Operator, CommandError> {
    match how {
        "sum" => Ok(Operator::Sum),
        "least" => Ok(Operator::Least),
        "greatest" => Ok(Operator::Greatest),
        _ => Err(super::usage(Problem::Misfit { argument: HOW, word: how.into() })),
    }
}

fn tell(session: &mut Session<'_>, action: &str, words: &[String], worked: &Worked) {
    let Worked { meant, bytes, outcome } = worked;
    let in_words = of(*meant, &counted(bytes / WORD_BYTES, "word", "words"));
    match outcome {
        Outcome::Found { places, count } => {
            places.iter().for_each(|place| session.line(format!("at byte {place}")));
            let in_bytes = of(*meant, &counted(*bytes, "byte", "bytes"));
            session.line(format!("{} in {in_bytes}", counted(*count, "place", "places")));
            let untold = count.saturating_sub(places.len() as u64);
            if action == "search" && untold > 0 {
                let untold = format!("({} not listed)", counted(untold, "is", "are"));
                session.painted_line(Role::Faint, &untold);
            }
        }
        Outcome::Sum(sum) => session.line(format!("{sum} is the sum of {in_words}")),
        Outcome::Word(Some(word)) => {
            let how = words.first().map_or("", String::as_str);
            session.line(format!("{word} is the {how} of {in_words}"));
        }
        Outcome::Word(None) => session.line("there are no words"),
    }
}

/// `3 words of text`.
fn of(meant: Meant, amount: &str) -> String {
    match meant {
        Meant::Text => format!("{amount} of text"),
        Meant::File => format!("{amount} of a file"),
        Meant::Pages => format!("{amount} of pages"),
    }
}
