//! What can be wrong with a manifest: always with file, table and key.

use std::fmt;
use std::io;

use super::suggest;

/// A manifest is refused.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {place}{problem}")]
pub(crate) struct ManifestError {
    /// Which file.
    pub(crate) file: Box<str>,
    /// Where in it.
    pub(crate) place: Place,
    /// What is wrong there.
    #[source]
    pub(crate) problem: Problem,
}

/// A table of a manifest and a key in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Such as "program `uart`"; empty for the file itself.
    pub(crate) table: String,
    /// The key, if it is about one.
    pub(crate) key: Option<String>,
}

impl Place {
    /// A program's table.
    pub(crate) fn program(name: &str) -> Self {
        Self { table: format!("program `{name}`"), key: None }
    }

    /// A resource's table.
    pub(crate) fn resource(name: &str) -> Self {
        Self::named("resource", name)
    }

    /// The table of something that has a kind and a name.
    pub(crate) fn named(kind: &str, name: &str) -> Self {
        Self { table: format!("{kind} `{name}`"), key: None }
    }

    /// The same table at this key.
    pub(crate) fn key(&self, key: &str) -> Self {
        Self { table: self.table.clone(), key: Some(key.to_owned()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|key| format!("key `{key}`"));
        let table = Some(&self.table).filter(|table| !table.is_empty());
        match (table, key) {
            (Some(table), Some(key)) => write!(f, "{table}, {key}: "),
            (Some(table), None) => write!(f, "{table}: "),
            (None, Some(key)) => write!(f, "{key}: "),
            (None, None) => Ok(()),
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The file cannot be read.
    #[error("cannot be read{}", suggest::hint(.suggestion.as_ref()))]
    Unreadable {
        /// Why.
        source: io::Error,
        /// An image that exists.
        suggestion: Option<String>,
    },
    /// It is not TOML.
    #[error("not TOML")]
    Syntax(#[source] Box<toml::de::Error>),
    /// Nobody knows this key.
    #[error("unknown key{}", suggest::hint(.0.as_ref()))]
    UnknownKey(Option<String>),
    /// A key that must be there is not.
    #[error("missing")]
    Missing,
    /// A value of the wrong type or outside its range.
    #[error("{found} is not {expected}")]
    BadValue {
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The name is taken.
    #[error("there are two of this name")]
    Duplicate,
    /// A list names something twice.
    #[error("names `{0}` twice")]
    ListedTwice(String),
    /// A name that init keeps for itself.
    #[error("`{0}` belongs to init")]
    Reserved(String),
    /// No package of the workspace has such a program.
    #[error("the workspace has no program of this name{}", suggest::hint(.0.as_ref()))]
    NoProgram(Option<String>),
    /// Two programs serve one service.
    #[error("`{service}` is served by `{other}` already")]
    ServedTwice {
        /// The service.
        service: String,
        /// Who serves it.
        other: String,
    },
    /// A service that nobody serves.
    #[error("nobody serves `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NobodyServes {
        /// The service.
        name: String,
        /// A service that is served.
        suggestion: Option<String>,
    },
    /// A notification that nobody waits for.
    #[error("nobody waits for `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NobodyWaits {
        /// The notification.
        name: String,
        /// One that somebody waits for.
        suggestion: Option<String>,
    },
    /// A notification that nobody signals.
    #[error("nobody signals `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NobodySignals {
        /// The notification.
        name: String,
        /// One that somebody signals.
        suggestion: Option<String>,
    },
    /// Two programs wait for one notification.
    #[error("`{other}` waits for `{name}` already")]
    AwaitedTwice {
        /// The notification.
        name: String,
        /// Who waits.
        other: String,
    },
    /// Hardware that is not declared.
    #[error("no resource `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NoResource {
        /// The name.
        name: String,
        /// A resource that is declared.
        suggestion: Option<String>,
    },
    /// A device that is not declared.
    #[error("no device `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NoDevice {
        /// The name.
        name: String,
        /// A device that is declared.
        suggestion: Option<String>,
    },
    /// A region that is not declared.
    #[error("no region `{name}`{}", suggest::hint(.suggestion.as_ref()))]
    NoRegion {
        /// The name.
        name: String,
        /// A region that is declared.
        suggestion: Option<String>,
    },
    /// A device that is nothing.
    #[error("says neither `pci`, `acpi` nor `boot`")]
    NoSuchHardware,
    /// A region under two kinds of grant.
    #[error("`{0}` is listed under another key, too")]
    TwoRights(String),
    /// A program that starts with its devices and has none.
    #[error("a program that starts with its devices needs some")]
    NoDevices,
    /// Memory for devices of a program that has none.
    #[error("`{0}` is for devices, and the program has none")]
    DmaWithoutDevices(String),
    /// A resource without ports among `ports`, or without an interrupt among `interrupts`.
    #[error("resource `{name}` has no `{lacks}`")]
    ResourceLacks {
        /// The resource.
        name: String,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A resource that two programs want to themselves.
    #[error("`{name}` is given to `{other}` already")]
    ResourceTaken {
        /// The resource.
        name: String,
        /// Who has it.
        other: String,
    },
    /// A server without reply objects, or reply objects without a service.
    #[error("{0}")]
    Replies(&'static str),
    /// More processor time than there is.
    #[error("a budget of {budget_us} us does not fit in a period of {period_us} us")]
    BudgetOverPeriod {
        /// Processor time.
        budget_us: u64,
        /// Per period.
        period_us: u64,
    },
    /// The source declares a need that the manifest does not grant.
    #[error("its source declares `{0}`, which the manifest does not grant")]
    NotGranted(String),
    /// The manifest grants something that the source does not ask for.
    #[error("grants `{0}`, which its source does not declare")]
    NotDeclared(String),
}
