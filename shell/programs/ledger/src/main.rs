//! Transfers money between accounts, each of them an object, and keeps a journal of it in another one:
//! every transfer is one transaction over three of them. Now and then it keeps a snapshot of the journal, while it
//! has that open. `run ledger 5` ends after five of them. `run ledger stall` holds the journal until it is put
//! out by whoever waits for it, and then goes on. `run ledger check` says whether all that was committed is
//! whole, wherever the machine was switched off, and `run ledger measured` is what `xtask bench pmem` counts.
//! `run ledger vast` makes an object of 64 GiB.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod vast;

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use libd3os::mark::{Laps, Phase, mark, pmem as plan};
use libd3os::object::collections::{PHashMap, POrderedMap};
use libd3os::object::medium::Mapped;
use libd3os::object::view::View;
use libd3os::object::{Editor, Object, PPtr, Persist, Tx, TxError, field};
use libd3os::println;
use libd3os::service::pmem::PmemError;
use libd3os::start::StartInfo;
use libd3os::store::{Store, StoreError};

libd3os::program! {
    main: run,
    calls: ["console", "log", "pmem", "supervisor"],
}

/// How many there are.
const ACCOUNTS: usize = 4;
/// What each has at first.
const ENDOWMENT: u64 = 1000;
/// Transfers that are remembered.
const REMEMBERED: u64 = 64;
/// After so many transfers each there is a new snapshot.
const BETWEEN_SNAPSHOTS: u64 = 8;
const JOURNAL: &str = "ledger/journal";
const SNAPSHOT: &str = "ledger/snapshot";
/// Pages of an object.
const PAGES: u32 = 24;

/// An account.
#[derive(Default, Persist)]
#[repr(C)]
struct Account {
    balance: u64,
    /// Transfers that it took part in.
    changes: u64,
    /// Amounts of those that are remembered, by their numbers.
    amounts: POrderedMap<u64, u64>,
}

/// What was done.
#[derive(Default, Persist)]
#[repr(C)]
struct Journal {
    transfers: u64,
    /// From, to and amount of those that are remembered, by their numbers.
    entries: PHashMap<u64, [u64; 3]>,
}

/// Why it did not go on.
enum Failure {
    Store(StoreError),
    Wrong(&'static str, u64),
    Usage,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<TxError> for Failure {
    fn from(error: TxError) -> Self {
        Self::Store(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Wrong(what, number) => write!(f, "{what}: {number}"),
            Self::Usage => {
                f.write_str("usage: ledger [NUMBER | stall | check | measured | vast [check]]")
            }
        }
    }
}

fn run(start: &'static StartInfo) -> Result<(), Failure> {
    match start.args.iter().map(|word| word.as_str()).collect::<Vec<_>>()[..] {
        [] => {
            let mut ledger = Ledger::open()?;
            loop {
                ledger.go_on()?;
            }
        }
        ["measured"] => be_measured(),
        ["vast"] => vast::make(),
        ["vast", "check"] => vast::check(),
        ["stall"] => {
            println!("stalled: {}", Ledger::open()?.stall());
            Ledger::open()?.go_on()
        }
        ["check"] => {
            let mut ledger = Ledger::open()?;
            let transfers = ledger.check()?;
            ledger.check_snapshot(transfers)?;
            println!("{transfers} transfers, all of them whole");
            Ok(())
        }
        [count] => {
            let count = count.parse::<u32>().map_err(|_| Failure::Usage)?;
            let mut ledger = Ledger::open()?;
            (0..count).try_for_each(|_| ledger.go_on())
        }
        _ => Err(Failure::Usage),
    }
}

/// The object that is used while operations are counted.
const MEASURED: &str = "measured";

/// Does each of the [`plan`]'s operations, so often as it says, and passes their marks.
fn be_measured() -> Result<(), Failure> {
    let mut store = Store::connect()?;
    let object = open_or_make(&mut store, MEASURED, &0_u64)?;
    store.release(object)?;
    repeat(|_| Ok(store.server().stat(MEASURED.into()).map(drop).map_err(StoreError::from)?))?;
    repeat(|_| {
        let object = store.open::<u64>(MEASURED)?;
        Ok(store.release(object)?)
    })?;
    let object = store.open::<u64>(MEASURED)?;
    repeat(|number| {
        store.tx(|tx| Ok(tx.edit(&object)?.set(object.base(), number).map_err(TxError::from)?))
    })?;
    mark(Phase::Measured);
    Ok(())
}

/// Does an operation so often as the [`plan`] says.
fn repeat(mut operation: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut laps = Laps::new(plan::ROUNDS);
    (1..=plan::ROUNDS.total()).try_for_each(|number| {
        operation(number)?;
        laps.pass(1);
        Ok(())
    })
}

struct Ledger {
    store: Store,
    journal: Object<Journal, Mapped>,
    accounts: Vec<Object<Account, Mapped>>,
}

impl Ledger {
    /// Opens the objects, those that are there; power may have been lost while they were made.
    fn open() -> Result<Self, Failure> {
        let mut store = Store::connect()?;
        match store.server().make_directory(store.tier(), "ledger".into()).map_err(StoreError::from)
        {
            Ok(_) | Err(StoreError::Refused(PmemError::Exists)) => {}
            Err(error) => return Err(error.into()),
        }
        let journal = open_or_make(&mut store, JOURNAL, &Journal::default())?;
        let account = Account { balance: ENDOWMENT, ..Account::default() };
        let accounts = (0..ACCOUNTS)
            .map(|number| open_or_make(&mut store, &format!("ledger/account-{number}"), &account));
        let accounts = accounts.collect::<Result<_, _>>()?;
        Ok(Self { store, journal, accounts })
    }

    /// Carries out a transfer and tells of it; keeps a snapshot now and then.
    fn go_on(&mut self) -> Result<(), Failure> {
        let number = self.transfer()?;
        println!("committed {number}.");
        match number.is_multiple_of(BETWEEN_SNAPSHOTS) {
            true => self.keep_snapshot(),
            false => Ok(()),
        }
    }

    /// Spoils the journal and holds it until somebody has it instead: tells why that came to nothing.
    fn stall(&mut self) -> StoreError {
        let Self { store, journal, .. } = self;
        let slot = store.session().slot();
        let done = store.tx(|tx| {
            tx.edit(journal)?.set(field!(journal.base(), Journal, transfers), 0)?;
            println!("holds the journal");
            while journal.mapping().control().lock().writer() == Some(slot) {
                libd3os::sys::yield_now();
            }
            Ok::<_, TxError>(())
        });
        let again = store.tx(|tx| tx.edit(journal).map(drop));
        match (done, again) {
            (Err(TxError::PutOut), Err(error)) => error.into(),
            _ => StoreError::BadPlace,
        }
    }

    /// Carries out the next transfer; tells its number, when it is durable.
    fn transfer(&mut self) -> Result<u64, Failure> {
        let Self { store, journal, accounts } = self;
        store.tx(|tx| {
            let number = transfers(&tx.edit(journal)?, journal.base())? + 1;
            let (from, to, most) = draw(number);
            let amount = most.min(balance(&tx.edit(&accounts[from])?, accounts[from].base())?);
            let transfer = Transfer { number, from, to, amount };
            let forgotten = transfer.note(&mut tx.edit(journal)?, journal.base())?;
            for place in [from, to] {
                transfer.book(&mut tx.edit(&accounts[place])?, accounts[place].base(), place)?;
            }
            for place in forgotten.into_iter().flat_map(|old| [old[0], old[1]]) {
                let account = account(accounts, place)?;
                let amounts = field!(account.base(), Account, amounts);
                amounts.remove(&mut tx.edit(account)?, &(number - REMEMBERED))?;
            }
            Ok(number)
        })
    }

    /// Replaces the snapshot of the journal.
    fn keep_snapshot(&self) -> Result<(), Failure> {
        match self.store.remove(SNAPSHOT) {
            Ok(_) | Err(StoreError::Refused(PmemError::NotFound)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.snapshot(JOURNAL, SNAPSHOT)?)
    }

    /// Whether the journal's snapshot, if there is one, is as the journal was at some time.
    fn check_snapshot(&mut self, now: u64) -> Result<(), Failure> {
        let snapshot = match self.store.open_to_read::<Journal>(SNAPSHOT) {
            Err(StoreError::Refused(PmemError::NotFound)) => return Ok(()),
            opened => opened?,
        };
        let view = self.store.look(&snapshot)?;
        let then = transfers(&view, snapshot.base())?;
        let entries = field!(snapshot.base(), Journal, entries);
        expect("transfers of the snapshot", then.min(now), then)?;
        expect("rest of its transfers", then % BETWEEN_SNAPSHOTS, 0)?;
        expect("its entries", entries.len(&view).map_err(TxError::from)?, then.min(REMEMBERED))?;
        let remembered = then - then.min(REMEMBERED) + 1..=then;
        for number in remembered {
            let found = entries.get(&view, &number).map_err(TxError::from)?;
            found.ok_or(Failure::Wrong("no entry in the snapshot", number))?;
        }
        Ok(())
    }

    /// Whether all objects agree; tells how many transfers there were.
    fn check(&mut self) -> Result<u64, Failure> {
        let Self { store, journal, accounts } = self;
        store.tx(|tx| {
            let number = transfers(&tx.edit(journal)?, journal.base())?;
            let remembered = number.min(REMEMBERED);
            let sums = sums(tx, accounts)?;
            expect("money", sums.money, ACCOUNTS as u64 * ENDOWMENT)?;
            expect("changes", sums.changes, 2 * number)?;
            expect("amounts", sums.amounts, 2 * remembered)?;
            let entries = field!(journal.base(), Journal, entries);
            expect("entries", entries.len(&tx.edit(journal)?).map_err(TxError::from)?, remembered)?;
            for number in number - remembered + 1..=number {
                let editor = tx.edit(journal)?;
                let entry = entries.get(&editor, &number).map_err(TxError::from)?.copied();
                check_entry(tx, accounts, number, entry)?;
            }
            Ok(number)
        })
    }
}

/// A transfer.
struct Transfer {
    number: u64,
    from: usize,
    to: usize,
    amount: u64,
}

impl Transfer {
    /// Notes it in the journal; tells what is not remembered any more.
    fn note(
        &self,
        editor: &mut Editor<'_, Journal>,
        base: PPtr<Journal>,
    ) -> Result<Option<[u64; 3]>, TxError> {
        let entries = field!(base, Journal, entries);
        editor.set(field!(base, Journal, transfers), self.number)?;
        let entry = [self.from as u64, self.to as u64, self.amount];
        entries.insert(editor, self.number, entry)?;
        let Some(old) = self.number.checked_sub(REMEMBERED) else { return Ok(None) };
        let forgotten = entries.get(editor, &old)?.copied();
        entries.remove(editor, &old)?;
        Ok(forgotten)
    }

    /// Books it in one of its accounts.
    fn book(
        &self,
        editor: &mut Editor<'_, Account>,
        base: PPtr<Account>,
        place: usize,
    ) -> Result<(), TxError> {
        let (before, changes) = (balance(editor, base)?, field!(base, Account, changes));
        let after = if place == self.from { before - self.amount } else { before + self.amount };
        editor.set(field!(base, Account, balance), after)?;
        let count = *editor.get(changes)? + 1;
        editor.set(changes, count)?;
        field!(base, Account, amounts).insert(editor, self.number, self.amount).map(drop)
    }
}

/// What all accounts have together.
#[derive(Default)]
struct Sums {
    money: u64,
    changes: u64,
    amounts: u64,
}

fn sums(tx: &mut Tx<'_, Mapped>, accounts: &[Object<Account, Mapped>]) -> Result<Sums, TxError> {
    let mut sums = Sums::default();
    for account in accounts {
        let (editor, base) = (tx.edit(account)?, account.base());
        sums.money += balance(&editor, base)?;
        sums.changes += *editor.get(field!(base, Account, changes))?;
        sums.amounts += field!(base, Account, amounts).len(&editor)?;
    }
    Ok(sums)
}

/// That both accounts know of a transfer what the journal does.
fn check_entry(
    tx: &mut Tx<'_, Mapped>,
    accounts: &[Object<Account, Mapped>],
    number: u64,
    entry: Option<[u64; 3]>,
) -> Result<(), Failure> {
    let [from, to, amount] = entry.ok_or(Failure::Wrong("no entry", number))?;
    for place in [from, to] {
        let account = account(accounts, place)?;
        let amounts = field!(account.base(), Account, amounts);
        let editor = tx.edit(account)?;
        let found = amounts.get(&editor, &number).map_err(TxError::from)?.copied();
        expect("amount", found.ok_or(Failure::Wrong("no amount", number))?, amount)?;
    }
    Ok(())
}

fn transfers(view: &impl View, base: PPtr<Journal>) -> Result<u64, TxError> {
    Ok(*view.get(field!(base, Journal, transfers))?)
}

fn balance(view: &impl View, base: PPtr<Account>) -> Result<u64, TxError> {
    Ok(*view.get(field!(base, Account, balance))?)
}

fn account(
    accounts: &[Object<Account, Mapped>],
    place: u64,
) -> Result<&Object<Account, Mapped>, Failure> {
    let account = usize::try_from(place).ok().and_then(|place| accounts.get(place));
    account.ok_or(Failure::Wrong("no account", place))
}

fn open_or_make<B: Persist>(
    store: &mut Store,
    path: &str,
    base: &B,
) -> Result<Object<B, Mapped>, Failure> {
    match store.open(path) {
        Err(StoreError::Refused(PmemError::NotFound)) => Ok(store.create(path, PAGES, base)?),
        opened => Ok(opened?),
    }
}

/// From whom, to whom, and how much at most: always the same for a number.
fn draw(number: u64) -> (usize, usize, u64) {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [.., first, second, third] = mixed.to_le_bytes();
    let from = usize::from(first) % ACCOUNTS;
    let to = (from + 1 + usize::from(second) % (ACCOUNTS - 1)) % ACCOUNTS;
    (from, to, u64::from(third) % 50)
}

fn expect(what: &'static str, found: u64, expected: u64) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(Failure::Wrong(what, found)) }
}
