//! From a line of text to the commands in it.
//!
//! The grammar is a small part of what every shell has: words separated by blanks; `'…'` takes
//! everything literally; `"…"` and bare words let a backslash take the next character literally
//! (inside double quotes only before `"` and `\`); `;` separates commands, `&&` runs the next one
//! only after success, a final `&` sends a command to the background, `#` at the start of a word
//! begins a comment. There are no variables, globs or redirections.
//!
//! The lexer also serves tab completion, which looks at lines that are not finished yet.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// One command of a line, with the condition under which it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether the command before it matters.
    pub condition: Condition,
    /// The command's name and its arguments, without their quoting; never empty.
    pub words: Vec<String>,
    /// Whether a `&` followed it.
    pub place: Place,
}

/// When a command of a line runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is the first, or stands after `;` or `&`.
    Always,
    /// It stands after `&&`.
    AfterSuccess,
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The shell waits for it.
    Foreground,
    /// The shell goes on at once (`&`).
    Background,
}

/// The two kinds of quotation marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// `'`: everything inside is literal.
    Single,
    /// `"`: a backslash escapes `"` and `\`.
    Double,
}

/// Why a line cannot be run. Columns count characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// A quotation mark was opened at the column and never closed.
    UnterminatedQuote {
        /// Where the quotation mark stands.
        column: usize,
    },
    /// The line ends in a backslash.
    DanglingBackslash {
        /// Where the backslash stands.
        column: usize,
    },
    /// An operator stands where a command should begin.
    MissingCommandBefore {
        /// The operator.
        operator: Operator,
        /// Where it stands.
        column: usize,
    },
    /// The line ends after an operator that needs a command.
    MissingCommandAfter {
        /// The operator.
        operator: Operator,
        /// Where it stands.
        column: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnterminatedQuote { column } => {
                write!(f, "unterminated quote at column {column}")
            }
            Self::DanglingBackslash { column } => {
                write!(f, "nothing after the backslash at column {column}")
            }
            Self::MissingCommandBefore { operator, column } => {
                write!(f, "no command before `{operator}` at column {column}")
            }
            Self::MissingCommandAfter { operator, column } => {
                write!(f, "no command after `{operator}` at column {column}")
            }
        }
    }
}

impl core::error::Error for ParseError {}

/// What stands between commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `;`
    Sequence,
    /// `&&`
    And,
    /// `&`
    Background,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sequence => ";",
            Self::And => "&&",
            Self::Background => "&",
        })
    }
}

/// Splits a line into its commands. An empty line or a comment has none.
///
/// # Errors
/// See [`ParseError`]; nothing of a line with an error is run.
pub fn parse(line: &str) -> Result<Vec<Step>, ParseError> {
    let lexed = lex(line);
    match lexed.ending {
        Ending::OpenQuote { column, .. } => return Err(ParseError::UnterminatedQuote { column }),
        Ending::DanglingBackslash { column } => {
            return Err(ParseError::DanglingBackslash { column });
        }
        Ending::Whole | Ending::Comment => {}
    }
    Assembly::default().assemble(lexed.tokens)
}

/// The unfinished word under the cursor and what stands before it in the same command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtCursor {
    /// The finished words of this command; empty if the command's name is being typed.
    pub before: Vec<String>,
    /// The part of the word left of the cursor, without its quoting.
    pub prefix: String,
    /// The byte at which that word starts in the line.
    pub start: usize,
    /// The quotation mark that is open at the cursor.
    pub quote: Option<Quote>,
}

/// What the end of an unfinished line stands in; nothing inside a comment.
pub fn at_cursor(line: &str) -> Option<AtCursor> {
    let mut lexed = lex(line);
    let quote = match lexed.ending {
        Ending::Comment => return None,
        Ending::OpenQuote { quote, .. } => Some(quote),
        Ending::Whole | Ending::DanglingBackslash { .. } => None,
    };
    let (prefix, start) = match lexed.tokens.pop_if(|last| last.touches(line.len())) {
        Some(Token::Word { text, start, .. }) => (text, start),
        Some(Token::Operator { .. }) | None => (String::new(), line.len()),
    };
    let mut before = Vec::new();
    for token in lexed.tokens {
        match token {
            Token::Word { text, .. } => before.push(text),
            Token::Operator { .. } => before.clear(),
        }
    }
    Some(AtCursor { before, prefix, start, quote })
}

/// Spells a word so that [`parse`] reads it back as one word with this text.
pub fn quote(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_string();
    }
    let mut spelled = open_quote(text, Quote::Single);
    spelled.push('\'');
    spelled
}

/// Spells a word with backslashes, so that more can be typed behind it.
pub fn escape(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_plain(c) {
            spelled.push('\\');
        }
        spelled.push(c);
    }
    spelled
}

/// Spells a word behind an opening quotation mark that stays open.
pub fn open_quote(text: &str, quote: Quote) -> String {
    let mut spelled = String::with_capacity(text.len() + 1);
    spelled.push(quote.mark());
    for c in text.chars() {
        match (quote, c) {
            // A single quote cannot be escaped inside single quotes: close, escape, open again.
            (Quote::Single, '\'') => spelled.push_str("'\\''"),
            (Quote::Double, '"' | '\\') => spelled.extend(['\\', c]),
            _ => spelled.push(c),
        }
    }
    spelled
}

impl Quote {
    /// The character itself.
    pub fn mark(self) -> char {
        match self {
            Self::Single => '\'',
            Self::Double => '"',
        }
    }

    fn from_mark(c: char) -> Option<Self> {
        match c {
            '\'' => Some(Self::Single),
            '"' => Some(Self::Double),
            _ => None,
        }
    }
}

/// Whether a character stands for itself anywhere in a bare word.
fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '\'' | '"' | '\\' | ';' | '&' | '#')
}

/// Collects tokens into steps, checking that operators have commands where they need them.
#[derive(Default)]
struct Assembly {
    steps: Vec<Step>,
    words: Vec<String>,
    /// The last operator, while no word has followed it.
    pending: Option<(Operator, usize)>,
}

impl Assembly {
    fn assemble(mut self, tokens: Vec<Token>) -> Result<Vec<Step>, ParseError> {
        for token in tokens {
            match token {
                Token::Word { text, .. } => self.words.push(text),
                Token::Operator { operator, column } => self.separate(operator, column)?,
            }
        }
        match self.pending {
            Some((operator @ Operator::And, column)) if self.words.is_empty() => {
                Err(ParseError::MissingCommandAfter { operator, column })
            }
            _ => {
                self.finish(Place::Foreground);
                Ok(self.steps)
            }
        }
    }

    fn separate(&mut self, operator: Operator, column: usize) -> Result<(), ParseError> {
        if self.words.is_empty() {
            return self.separate_nothing(operator, column);
        }
        self.finish(match operator {
            Operator::Background => Place::Background,
            Operator::Sequence | Operator::And => Place::Foreground,
        });
        self.pending = Some((operator, column));
        Ok(())
    }

    /// An operator without words before it: only `;` may repeat itself, or end a `&`.
    fn separate_nothing(&mut self, operator: Operator, column: usize) -> Result<(), ParseError> {
        match (self.pending, operator) {
            (Some((operator @ Operator::And, column)), _) => {
                Err(ParseError::MissingCommandAfter { operator, column })
            }
            (_, Operator::Sequence) => Ok(()),
            _ => Err(ParseError::MissingCommandBefore { operator, column }),
        }
    }

    fn finish(&mut self, place: Place) {
        if self.words.is_empty() {
            return;
        }
        let condition = match self.pending.take() {
            Some((Operator::And, _)) => Condition::AfterSuccess,
            _ => Condition::Always,
        };
        self.steps.push(Step { condition, words: core::mem::take(&mut self.words), place });
    }
}

enum Token {
    Word { text: String, start: usize, end: usize },
    Operator { operator: Operator, column: usize },
}

impl Token {
    /// Whether this is a word that reaches up to the given byte.
    fn touches(&self, position: usize) -> bool {
        matches!(self, Self::Word { end, .. } if *end == position)
    }
}

/// What the line's last character stood in.
enum Ending {
    Whole,
    Comment,
    OpenQuote { quote: Quote, column: usize },
    DanglingBackslash { column: usize },
}

struct Lexed {
    tokens: Vec<Token>,
    ending: Ending,
}

fn lex(line: &str) -> Lexed {
    let mut lexer = Lexer { line, position: 0, column: 1 };
    let mut tokens = Vec::new();
    let ending = lexer.run(&mut tokens);
    Lexed { tokens, ending }
}

struct Lexer<'a> {
    line: &'a str,
    position: usize,
    column: usize,
}

impl Lexer<'_> {
    fn run(&mut self, tokens: &mut Vec<Token>) -> Ending {
        while let Some(c) = self.peek() {
            let column = self.column;
            match c {
                c if c.is_whitespace() => self.skip(),
                '#' => return Ending::Comment,
                ';' => {
                    self.skip();
                    tokens.push(Token::Operator { operator: Operator::Sequence, column });
                }
                '&' => tokens.push(Token::Operator { operator: self.ampersand(), column }),
                _ => {
                    if let Some(ending) = self.word(tokens) {
                        return ending;
                    }
                }
            }
        }
        Ending::Whole
    }

    fn ampersand(&mut self) -> Operator {
        self.skip();
        if self.peek() != Some('&') {
            return Operator::Background;
        }
        self.skip();
        Operator::And
    }

    /// Reads one word; an ending if the line stops in the middle of it.
    fn word(&mut self, tokens: &mut Vec<Token>) -> Option<Ending> {
        let start = self.position;
        let mut text = String::new();
        let ending = self.word_text(&mut text);
        tokens.push(Token::Word { text, start, end: self.position });
        ending
    }

    fn word_text(&mut self, text: &mut String) -> Option<Ending> {
        while let Some(c) = self.peek() {
            let column = self.column;
            if c.is_whitespace() || matches!(c, ';' | '&') {
                break;
            }
            self.skip();
            if let Some(quote) = Quote::from_mark(c) {
                if self.quoted(quote, text).is_none() {
                    return Some(Ending::OpenQuote { quote, column });
                }
            } else if c == '\\' {
                match self.next() {
                    Some(escaped) => text.push(escaped),
                    None => return Some(Ending::DanglingBackslash { column }),
                }
            } else {
                text.push(c);
            }
        }
        None
    }

    /// Reads up to the closing mark; nothing if the line ends first.
    fn quoted(&mut self, quote: Quote, text: &mut String) -> Option<()> {
        loop {
            match self.next()? {
                c if c == quote.mark() => return Some(()),
                '\\' if quote == Quote::Double => match self.peek() {
                    Some(c @ ('"' | '\\')) => {
                        self.skip();
                        text.push(c);
                    }
                    _ => text.push('\\'),
                },
                c => text.push(c),
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.line.get(self.position..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        self.column += 1;
        Some(c)
    }

    fn skip(&mut self) {
        let _ = self.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

    fn words(line: &str) -> Vec<Vec<String>> {
        parse(line).unwrap().into_iter().map(|step| step.words).collect()
    }

    fn error(line: &str) -> String {
        parse(line).unwrap_err().to_string()
    }

    #[test]
    fn splits_words_and_keeps_quoted_blanks() {
        assert_eq!(
            words("  run hello 'a b' \"c d\" e\\ f "),
            [["run", "hello", "a b", "c d", "e f"]]
        );
        assert_eq!(words(r#"echo a"b"'c' '' "\"\\\n""#), [["echo", "abc", "", r#""\\n"#]]);
    }

    #[test]
    fn a_comment_begins_at_a_word_only() {
        assert_eq!(words("ps # all of them"), [["ps"]]);
        assert_eq!(words("echo a#b"), [["echo", "a#b"]]);
        assert_eq!(words("# nothing"), Vec::<Vec<String>>::new());
        assert_eq!(words("echo '#' \\#"), [["echo", "#", "#"]]);
    }

    #[test]
    fn operators_set_the_condition_and_the_place() {
        let steps = parse("a;b && c & d").unwrap();
        let shape: Vec<_> =
            steps.iter().map(|s| (s.words[0].as_str(), s.condition, s.place)).collect();
        assert_eq!(
            shape,
            [
                ("a", Condition::Always, Place::Foreground),
                ("b", Condition::Always, Place::Foreground),
                ("c", Condition::AfterSuccess, Place::Background),
                ("d", Condition::Always, Place::Foreground),
            ]
        );
        assert_eq!(words("a ;; b ;"), [["a"], ["b"]]);
        assert_eq!(words("a & ; b"), [["a"], ["b"]]);
        assert_eq!(words(" ; ; "), Vec::<Vec<String>>::new());
    }

    #[test]
    fn errors_name_the_column() {
        assert_eq!(error("echo a 'b c"), "unterminated quote at column 8");
        assert_eq!(error("écho \"b"), "unterminated quote at column 6");
        assert_eq!(error("echo \\"), "nothing after the backslash at column 6");
        assert_eq!(error("&& a"), "no command before `&&` at column 1");
        assert_eq!(error("a && ; b"), "no command after `&&` at column 3");
        assert_eq!(error("a &&"), "no command after `&&` at column 3");
        assert_eq!(error("a & && b"), "no command before `&&` at column 5");
        assert_eq!(error("a ; & b"), "no command before `&` at column 5");
    }

    #[test]
    fn the_cursor_knows_its_word_and_its_command() {
        let cursor = at_cursor("ps && run he").unwrap();
        assert_eq!(cursor.before, ["run"]);
        assert_eq!((cursor.prefix.as_str(), cursor.start, cursor.quote), ("he", 10, None));

        let cursor = at_cursor("run ").unwrap();
        assert_eq!((cursor.before.len(), cursor.prefix.as_str(), cursor.start), (1, "", 4));

        let cursor = at_cursor("run \"he l").unwrap();
        assert_eq!((cursor.prefix.as_str(), cursor.start), ("he l", 4));
        assert_eq!(cursor.quote, Some(Quote::Double));

        let cursor = at_cursor("ps;").unwrap();
        assert_eq!((cursor.before.len(), cursor.start), (0, 3));

        assert_eq!(at_cursor("ps # r"), None);
    }

    fn any_word() -> impl Strategy<Value = String> {
        any::<String>()
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in any::<String>()) {
            let _ = parse(&line);
            let _ = at_cursor(&line);
        }

        #[test]
        fn syntax_soup_is_parsed_or_blamed_on_a_column_in_it(line in "[ab '\"\\\\;&#]{0,24}") {
            match parse(&line) {
                Ok(steps) => prop_assert!(steps.iter().all(|step| !step.words.is_empty())),
                Err(ParseError::UnterminatedQuote { column }
                    | ParseError::DanglingBackslash { column }
                    | ParseError::MissingCommandBefore { column, .. }
                    | ParseError::MissingCommandAfter { column, .. }) => {
                    prop_assert!((1..=line.chars().count()).contains(&column));
                }
            }
            if let Some(cursor) = at_cursor(&line) {
                prop_assert!(line.is_char_boundary(cursor.start));
            }
        }

        #[test]
        fn quoting_round_trips(words in proptest::collection::vec(any_word(), 1..5)) {
            let line = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
            let steps = parse(&line).unwrap();
            prop_assert_eq!(steps.len(), 1);
            prop_assert_eq!(&steps[0].words, &words);
        }

        #[test]
        fn escaping_and_open_quotes_round_trip(word in any_word().prop_filter("", |w| !w.is_empty())) {
            prop_assert_eq!(&parse(&escape(&word)).unwrap()[0].words[0], &word);
            for mark in [Quote::Single, Quote::Double] {
                let mut line = open_quote(&word, mark);
                let cursor = at_cursor(&line).unwrap();
                prop_assert_eq!((&cursor.prefix, cursor.quote), (&word, Some(mark)));
                line.push(mark.mark());
                prop_assert_eq!(&parse(&line).unwrap()[0].words[0], &word);
            }
        }
    }
}
