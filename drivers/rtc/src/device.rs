//! Reading the clock: sans-IO, over any [`Registers`].
//!
//! The clock changes its registers once a second, and says from 244 µs before until the end of
//! that that they must not be read. Reading them all takes less than that, so what is read after
//! the clock said that no change is near is sound. But the reader may be put aside in between:
//! so the registers are read until two readings in a row are the same.

use libd3os::service::rtc::RtcError;
use libd3os::time::Date;

use crate::events::{Event, Journal};
use crate::regs::{AFTERNOON, Registers, StatusA, StatusB, StatusD, address};

/// Readings that are tried. A change takes 2 ms and a reading at least some microseconds, so this
/// is more than there can be of a clock that works.
const READINGS: usize = 20_000;

/// The clock.
#[derive(Debug)]
pub struct Clock<R> {
    registers: R,
    /// Address of the register with the century, if the firmware told of one.
    century: Option<u8>,
    journal: Journal,
}

/// The registers as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    second: u8,
    minute: u8,
    hour: u8,
    day: u8,
    month: u8,
    year: u8,
    century: Option<u8>,
    format: StatusB,
}

impl<R: Registers> Clock<R> {
    /// The clock behind these registers. `century` is the address that the FADT tells; 0 is none.
    pub fn new(registers: R, century: u8) -> Self {
        let century = Some(century)
            .filter(|century| (address::STATUS_D + 1..=address::LAST).contains(century));
        Self { registers, century, journal: Journal::default() }
    }

    /// Seconds since the beginning of 1970, UTC, as the clock says.
    ///
    /// # Errors
    /// [`RtcError`].
    pub fn seconds(&mut self) -> Result<u64, RtcError> {
        let seconds = self.read();
        self.journal.note(match seconds {
            Ok(seconds) => Event::Read(seconds),
            Err(RtcError::NotResponding) => Event::NotResponding,
            Err(RtcError::PowerLost) => Event::PowerLost,
            Err(RtcError::NoDate) => Event::NoDate,
        });
        seconds
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    fn read(&mut self) -> Result<u64, RtcError> {
        let status = self.registers.read(address::STATUS_D);
        if status == u8::MAX {
            // No chip: its lower bits are always 0.
            return Err(RtcError::NotResponding);
        }
        if !StatusD::from_bits_retain(status).contains(StatusD::VALID) {
            return Err(RtcError::PowerLost);
        }
        let reading = self.settled().ok_or(RtcError::NotResponding)?;
        reading.date().and_then(|date| date.seconds()).ok_or(RtcError::NoDate)
    }

    /// A reading that was the same twice.
    fn settled(&mut self) -> Option<Reading> {
        let mut last = None;
        for _ in 0..READINGS {
            let reading = self.reading();
            if reading.is_none() && last.is_some() {
                self.journal.note(Event::Changing);
            }
            if reading.is_some() && reading == last {
                return reading;
            }
            last = reading;
        }
        None
    }

    /// The registers, unless they are about to change.
    fn reading(&mut self) -> Option<Reading> {
        let status = StatusA::from_bits_retain(self.registers.read(address::STATUS_A));
        if status.contains(StatusA::UPDATE_IN_PROGRESS) {
            return None;
        }
        let mut read = |address| self.registers.read(address);
        Some(Reading {
            second: read(address::SECONDS),
            minute: read(address::MINUTES),
            hour: read(address::HOURS),
            day: read(address::DAY),
            month: read(address::MONTH),
            year: read(address::YEAR),
            century: self.century.map(&mut read),
            format: StatusB::from_bits_truncate(read(address::STATUS_B)),
        })
    }
}

impl Reading {
    fn date(&self) -> Option<Date> {
        let number = |byte| self.number(byte);
        Some(Date {
            year: self.year()?,
            month: number(self.month)?,
            day: number(self.day)?,
            hour: self.hour()?,
            minute: number(self.minute)?,
            second: number(self.second)?,
        })
    }

    fn hour(&self) -> Option<u8> {
        if self.format.contains(StatusB::HOURS_24) {
            return self.number(self.hour);
        }
        let hour = self.number(self.hour & !AFTERNOON).filter(|hour| (1..=12).contains(hour))?;
        Some(hour % 12 + if self.hour & AFTERNOON == 0 { 0 } else { 12 })
    }

    /// The year. Without a register for the century it is one of 1970 to 2069. One that holds no
    /// century that there can have been is taken for none: not every machine has it.
    fn year(&self) -> Option<u16> {
        let year = u16::from(self.number(self.year).filter(|year| *year < 100)?);
        let century = self.century.and_then(|century| self.number(century));
        Some(match century.filter(|century| (19..=22).contains(century)) {
            Some(century) => u16::from(century) * 100 + year,
            None if year < 70 => 2000 + year,
            None => 1900 + year,
        })
    }

    /// A byte as the clock counts: binary, or two decimal digits.
    fn number(&self, byte: u8) -> Option<u8> {
        let (tens, ones) = (byte >> 4, byte & 0xf);
        if self.format.contains(StatusB::BINARY) {
            Some(byte)
        } else {
            (tens < 10 && ones < 10).then_some(tens * 10 + ones)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CENTURY, Chip};
    use proptest::prelude::*;

    fn format() -> impl Strategy<Value = StatusB> {
        (any::<bool>(), any::<bool>()).prop_map(|(hours, binary)| {
            let mut format = StatusB::empty();
            format.set(StatusB::HOURS_24, hours);
            format.set(StatusB::BINARY, binary);
            format
        })
    }

    fn date() -> impl Strategy<Value = Date> {
        (1970u16..2300, 1u8..=12, 1u8..=28, 0u8..24, 0u8..60, 0u8..60).prop_map(
            |(year, month, day, hour, minute, second)| Date {
                year,
                month,
                day,
                hour,
                minute,
                second,
            },
        )
    }

    const NOON: Date = Date { year: 2026, month: 11, day: 23, hour: 12, minute: 0, second: 0 };

    #[test]
    fn a_clock_that_is_not_there_or_has_lost_the_time_says_so() {
        let mut absent = Clock::new(Chip::absent(), CENTURY);
        assert_eq!(absent.seconds(), Err(RtcError::NotResponding));
        let mut flat = Clock::new(Chip::new(NOON, StatusB::HOURS_24).with_empty_battery(), 0);
        assert_eq!(flat.seconds(), Err(RtcError::PowerLost));
        let mut stuck = Clock::new(Chip::new(NOON, StatusB::HOURS_24).stuck(), 0);
        assert_eq!(stuck.seconds(), Err(RtcError::NotResponding));
        assert_eq!(stuck.journal().recorder().value("readings that failed"), 1);
    }

    #[test]
    fn twelve_hours_begin_with_twelve() {
        for (hour, byte) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81)] {
            let date = Date { hour, ..NOON };
            let chip = Chip::new(date, StatusB::empty());
            assert_eq!(chip.hour_byte(), byte);
            assert_eq!(Clock::new(chip, CENTURY).seconds().ok(), date.seconds());
        }
    }

    #[test]
    fn without_a_century_years_are_those_around_2000() {
        for (year, taken) in [(1970, 1970), (1999, 1999), (2069, 2069), (2070, 1970)] {
            let mut clock = Clock::new(Chip::new(Date { year, ..NOON }, StatusB::BINARY), 0);
            assert_eq!(clock.seconds().ok(), Date { year: taken, ..NOON }.seconds());
        }
    }

    proptest! {
        #[test]
        fn every_format_is_read(date in date(), format in format()) {
            let mut clock = Clock::new(Chip::new(date, format), CENTURY);
            prop_assert_eq!(clock.seconds().ok(), date.seconds());
        }

        /// However long each access takes and however near a change is, the time is one that the
        /// clock showed while it was read.
        #[test]
        fn a_change_in_the_midst_is_no_matter(
            date in date(),
            format in format(),
            into_second_us in 0u64..1_000_000,
            access_us in 1u64..60,
            pauses in prop::collection::vec(0u64..3_000, 0..40),
        ) {
            let chip = Chip::new(date, format).slow(into_second_us, access_us, pauses);
            let mut clock = Clock::new(chip, CENTURY);
            let before = date.seconds().expect("sound");
            let seconds = clock.seconds().expect("it works");
            let after = before + clock.registers.elapsed_seconds();
            prop_assert!((before..=after).contains(&seconds), "{before} {seconds} {after}");
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 1..60), century: u8) {
            let mut clock = Clock::new(Nonsense(bytes.into_iter().cycle()), century);
            let _ = clock.seconds();
        }
    }

    struct Nonsense<I>(I);

    impl<I: Iterator<Item = u8>> Registers for Nonsense<I> {
        fn read(&mut self, _: u8) -> u8 {
            self.0.next().expect("endless")
        }
    }
}
