//! The clock as its data sheet describes it, with its own time.

use libd3os::time::Date;

use crate::regs::{AFTERNOON, Registers, StatusA, StatusB, StatusD, address};

/// Where this machine's firmware says that the century is.
pub(crate) const CENTURY: u8 = 0x32;

/// A change is announced so long before, and takes so long, in microseconds.
const ANNOUNCED_US: u64 = 244;
const CHANGE_US: u64 = 1_984;
const SECOND_US: u64 = 1_000_000;

/// An MC146818.
#[derive(Clone, Debug)]
pub(crate) struct Chip {
    present: bool,
    valid: bool,
    stuck: bool,
    format: StatusB,
    /// The date at the beginning of the second in which it was made.
    start: Date,
    /// Microseconds since then.
    now_us: u64,
    began_us: u64,
    access_us: u64,
    pauses: Vec<u64>,
}

impl Chip {
    pub(crate) fn new(start: Date, format: StatusB) -> Self {
        let (now_us, began_us) = (300_000, 300_000);
        let (access_us, pauses) = (1, Vec::new());
        Self {
            present: true,
            valid: true,
            stuck: false,
            format,
            start,
            now_us,
            began_us,
            access_us,
            pauses,
        }
    }

    pub(crate) fn absent() -> Self {
        let start = Date { year: 2000, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        Self { present: false, ..Self::new(start, StatusB::empty()) }
    }

    pub(crate) fn with_empty_battery(self) -> Self {
        Self { valid: false, ..self }
    }

    /// Never leaves its update.
    pub(crate) fn stuck(self) -> Self {
        Self { stuck: true, ..self }
    }

    /// So far into the second; an access takes so long, and after some the reader is put aside.
    pub(crate) fn slow(self, now_us: u64, access_us: u64, pauses: Vec<u64>) -> Self {
        Self { now_us, began_us: now_us, access_us, pauses, ..self }
    }

    /// Whole seconds that have begun since the chip was first asked.
    pub(crate) fn elapsed_seconds(&self) -> u64 {
        self.now_us / SECOND_US - self.began_us / SECOND_US
    }

    pub(crate) fn hour_byte(&self) -> u8 {
        self.byte(address::HOURS)
    }

    fn this_second(&self) -> u64 {
        self.now_us % SECOND_US
    }

    /// Whether the registers change just now: what is read then is anything.
    fn changes(&self) -> bool {
        self.now_us >= SECOND_US && self.this_second() < CHANGE_US
    }

    fn date(&self) -> Date {
        let mut date = self.start;
        for _ in 0..self.now_us / SECOND_US {
            date.second += 1;
            for (small, large, limit) in [(0, 1, 60), (1, 2, 60), (2, 3, 24)] {
                let mut fields = [date.second, date.minute, date.hour, date.day];
                if fields[small] == limit {
                    fields[small] = 0;
                    fields[large] += 1;
                }
                [date.second, date.minute, date.hour, date.day] = fields;
            }
        }
        date
    }

    fn number(&self, number: u8) -> u8 {
        if self.format.contains(StatusB::BINARY) { number } else { number / 10 * 16 + number % 10 }
    }

    fn hour(&self, hour: u8) -> u8 {
        if self.format.contains(StatusB::HOURS_24) {
            return self.number(hour);
        }
        let afternoon = if hour >= 12 { AFTERNOON } else { 0 };
        self.number((hour + 11) % 12 + 1) | afternoon
    }

    fn byte(&self, address: u8) -> u8 {
        let date = self.date();
        let part = |number: u16| self.number(u8::try_from(number).expect("below 100"));
        match address {
            address::SECONDS => self.number(date.second),
            address::MINUTES => self.number(date.minute),
            address::HOURS => self.hour(date.hour),
            address::DAY => self.number(date.day),
            address::MONTH => self.number(date.month),
            address::YEAR => part(date.year % 100),
            CENTURY => part(date.year / 100),
            other => panic!("the driver has no reason to read register {other:#x}"),
        }
    }

    fn status_a(&self) -> u8 {
        let near = self.this_second() >= SECOND_US - ANNOUNCED_US;
        let updates = self.stuck || near || self.changes();
        0x26 | if updates { StatusA::UPDATE_IN_PROGRESS.bits() } else { 0 }
    }
}

impl Registers for Chip {
    fn read(&mut self, address: u8) -> u8 {
        if !self.present {
            return u8::MAX;
        }
        let value = match address {
            address::STATUS_A => self.status_a(),
            address::STATUS_B => self.format.bits(),
            address::STATUS_D if self.valid => StatusD::VALID.bits(),
            address::STATUS_D => 0,
            _ if self.changes() => 0x5a ^ address,
            other => self.byte(other),
        };
        self.now_us += self.access_us + self.pauses.pop().unwrap_or(0);
        value
    }
}
