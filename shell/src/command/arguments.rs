//! Declaring, checking and handing over a command's arguments.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::{Command, find};

/// An argument's or option value's declaration.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// What stands for it in the usage line.
    pub name: &'static str,
    /// What it names, which says how it is checked and completed.
    pub kind: Kind,
    /// Whether it may be left out or repeated.
    pub presence: Presence,
    /// What it is, in half a line.
    pub about: &'static str,
}

/// What an argument names.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A command of this shell.
    Command,
    /// A program of the image. Whether it exists the supervisor says.
    Program,
    /// A service of the image. Whether it exists the supervisor says.
    Service,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number above 0.
    Count,
    /// A whole number, hexadecimal with `0x`.
    Number,
    /// A core's number. Whether there is one the supervisor says.
    Core,
    /// A path in the host's share. Whether it leads somewhere the host says.
    Shared,
    /// A path of persistent objects. Whether it leads somewhere their server says.
    Object,
    /// Anything.
    Text,
}

/// How often an argument comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Once.
    Required,
    /// Once or not at all.
    Optional,
    /// Any number of times, up to the end of the command.
    Repeated,
}

/// An option's declaration; every option takes a value.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// What is typed, with its dashes.
    pub name: &'static str,
    /// What follows it.
    pub value: Argument,
}

/// Where a program is to run.
pub const ON_CORE: Flag = Flag {
    name: "--core",
    value: Argument {
        name: "N",
        kind: Kind::Core,
        presence: Presence::Required,
        about: "the core to run it on",
    },
};

impl Argument {
    /// How it stands in the usage line.
    pub fn usage(&self) -> String {
        match self.presence {
            Presence::Required => self.name.to_string(),
            Presence::Optional => format!("[{}]", self.name),
            Presence::Repeated => format!("[{}…]", self.name),
        }
    }

    fn check(&self, word: &str) -> Result<(), Problem> {
        let fits = match self.kind {
            Kind::Choice(words) => words.contains(&word),
            Kind::Count => word.parse::<u64>().is_ok_and(|count| count > 0),
            Kind::Number => number(word).is_some(),
            Kind::Core => word.parse::<u32>().is_ok(),
            Kind::Command => find(word).is_some(),
            Kind::Program | Kind::Service | Kind::Shared | Kind::Object | Kind::Text => true,
        };
        if fits { Ok(()) } else { Err(Problem::Misfit { argument: *self, word: word.to_string() }) }
    }
}

impl Flag {
    /// How it stands in the usage line.
    pub fn usage(&self) -> String {
        format!("{} {}", self.name, self.value.name)
    }
}

/// What is wrong with a command's arguments.
#[derive(Debug, Clone)]
pub enum Problem {
    /// An argument is not there.
    Missing(Argument),
    /// An option's value is not there.
    MissingValue(Flag),
    /// There is no such option.
    UnknownFlag(String),
    /// There is no room for this word.
    TooMany(String),
    /// The word is none of those that the argument can be.
    Misfit {
        /// The argument.
        argument: Argument,
        /// What was given for it.
        word: String,
    },
    /// `&` after a command that runs in the shell itself.
    NotInBackground,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(argument) => {
                write!(f, "{} is missing ({})", argument.name, argument.about)
            }
            Self::MissingValue(flag) => {
                write!(f, "`{}` needs {} ({})", flag.name, flag.value.name, flag.value.about)
            }
            Self::UnknownFlag(word) => write!(f, "there is no option `{word}`"),
            Self::TooMany(word) => write!(f, "`{word}` is one argument too many"),
            Self::Misfit { argument, word } => misfit(f, argument, word),
            Self::NotInBackground => f.write_str("this command cannot run in the background"),
        }
    }
}

/// A whole number, hexadecimal with `0x`.
fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn misfit(f: &mut fmt::Formatter<'_>, argument: &Argument, word: &str) -> fmt::Result {
    match argument.kind {
        Kind::Choice(words) => {
            write!(f, "`{word}` is no {}; it is one of {}", argument.name, words.join(", "))
        }
        Kind::Count => write!(f, "`{word}` is not a number above 0"),
        Kind::Number => write!(f, "`{word}` is not a number"),
        Kind::Core => write!(f, "`{word}` is not a core's number"),
        Kind::Command => write!(f, "there is no command `{word}`"),
        Kind::Program | Kind::Service | Kind::Shared | Kind::Object | Kind::Text => {
            write!(f, "`{word}` does not fit")
        }
    }
}

/// A command's checked arguments.
#[derive(Debug, Default)]
pub struct Arguments<'a> {
    values: Vec<(&'static str, &'a str)>,
    rest: &'a [String],
}

impl<'a> Arguments<'a> {
    /// Checks words against a declaration.
    ///
    /// # Errors
    /// The first [`Problem`] from the left; a missing argument last.
    pub fn check(command: &Command, words: &'a [String]) -> Result<Self, Problem> {
        let mut arguments = Self::default();
        let mut walk = Walk::new(command);
        for (index, word) in words.iter().enumerate() {
            match walk.step(word)? {
                Meaning::Flag => {}
                Meaning::Value(argument) => {
                    argument.check(word)?;
                    arguments.values.push((argument.name, word));
                }
                Meaning::Rest => {
                    arguments.rest = words.get(index..).unwrap_or_default();
                    return Ok(arguments);
                }
            }
        }
        walk.finish()?;
        Ok(arguments)
    }

    /// The value of an argument or of an option, by the value's declared name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.values.iter().rev().find(|(given, _)| *given == name).map(|&(_, word)| word)
    }

    /// The value of a required argument; the check has made sure that it is there.
    pub fn required(&self, name: &str) -> &'a str {
        self.get(name).unwrap_or_default()
    }

    /// The value of a [`Kind::Count`].
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|word| word.parse().ok())
    }

    /// The value of a [`Kind::Number`].
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(number)
    }

    /// The value of a [`Kind::Core`].
    pub fn core(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(|word| word.parse().ok())
    }

    /// The words of the repeated argument.
    pub fn rest(&self) -> &'a [String] {
        self.rest
    }
}

/// Goes through a command's words and says what each is. Completion goes the same way.
#[derive(Debug)]
pub struct Walk<'c> {
    command: &'c Command,
    next: usize,
    flag: Option<&'c Flag>,
}

enum Meaning<'c> {
    Flag,
    Value(&'c Argument),
    Rest,
}

/// What may come next.
#[derive(Debug)]
pub struct Expected<'c> {
    /// The argument or option value; nothing if there is no room for another.
    pub value: Option<&'c Argument>,
    /// The options that may stand here.
    pub flags: &'c [Flag],
}

impl<'c> Walk<'c> {
    /// Before the first word.
    pub fn new(command: &'c Command) -> Self {
        Self { command, next: 0, flag: None }
    }

    /// Goes over finished words as far as they make sense.
    pub fn over(mut self, words: &[String]) -> Expected<'c> {
        for word in words {
            if self.step(word).is_err() {
                return Expected { value: None, flags: &[] };
            }
        }
        self.expected()
    }

    fn expected(&self) -> Expected<'c> {
        match self.flag {
            Some(flag) => Expected { value: Some(&flag.value), flags: &[] },
            None => Expected {
                value: self.command.arguments.get(self.next),
                flags: if self.next == 0 || !self.has_rest() { self.command.flags } else { &[] },
            },
        }
    }

    /// Whether the last argument takes all words to the end, options of another program among them.
    fn has_rest(&self) -> bool {
        self.command.arguments.last().is_some_and(|last| last.presence == Presence::Repeated)
    }

    fn step(&mut self, word: &str) -> Result<Meaning<'c>, Problem> {
        let expected = self.expected();
        if self.flag.take().is_none() && !expected.flags.is_empty() && word.starts_with('-') {
            let flag = expected.flags.iter().find(|flag| flag.name == word);
            self.flag = Some(flag.ok_or_else(|| Problem::UnknownFlag(word.to_string()))?);
            return Ok(Meaning::Flag);
        }
        let argument = expected.value.ok_or_else(|| Problem::TooMany(word.to_string()))?;
        if argument.presence == Presence::Repeated {
            return Ok(Meaning::Rest);
        }
        let is_positional =
            self.command.arguments.get(self.next).is_some_and(|a| core::ptr::eq(a, argument));
        self.next += usize::from(is_positional);
        Ok(Meaning::Value(argument))
    }

    fn finish(&self) -> Result<(), Problem> {
        if let Some(flag) = self.flag {
            return Err(Problem::MissingValue(*flag));
        }
        match self.expected().value {
            Some(argument) if argument.presence == Presence::Required => {
                Err(Problem::Missing(*argument))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Values = Vec<(&'static str, String)>;

    fn check(line: &str) -> Result<(Values, Vec<String>), String> {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        let command = find(&words[0]).unwrap();
        let checked = Arguments::check(command, &words[1..]).map_err(|p| p.to_string())?;
        let values = checked.values.iter().map(|&(n, w)| (n, w.to_string())).collect();
        Ok((values, checked.rest.to_vec()))
    }

    #[test]
    fn words_find_their_arguments() {
        let (values, rest) = check("run hello -n & x").unwrap();
        assert_eq!(values, [("NAME", "hello".into())]);
        assert_eq!(rest, ["-n", "&", "x"]);
        let (values, _) = check("run --core 3 hello").unwrap();
        assert_eq!(values, [("N", "3".into()), ("NAME", "hello".into())]);
        for line in ["kill --after 3 uart", "kill uart --after 3"] {
            let (mut values, _) = check(line).unwrap();
            values.sort();
            assert_eq!(values, [("N", "3".into()), ("NAME", "uart".into())], "{line}");
        }
        let (values, _) = check("log --level warn -n 5").unwrap();
        assert_eq!(values, [("LEVEL", "warn".into()), ("N", "5".into())]);
    }

    #[test]
    fn problems_are_named() {
        let problem = |line| check(line).unwrap_err();
        assert_eq!(problem("ps x"), "`x` is one argument too many");
        assert_eq!(problem("caps"), "NAME is missing (a program)");
        assert_eq!(problem("log -x"), "there is no option `-x`");
        assert_eq!(problem("log -n"), "`-n` needs N (how many records to show)");
        assert_eq!(problem("log -n 0"), "`0` is not a number above 0");
        assert_eq!(
            problem("log --level loud"),
            "`loud` is no LEVEL; it is one of error, warn, info, debug, trace"
        );
        assert_eq!(problem("run --core x hello"), "`x` is not a core's number");
        assert_eq!(problem("cores halt"), "`halt` is no ACTION; it is one of stop, restart");
        assert_eq!(problem("help hlp"), "there is no command `hlp`");
    }
}
