//! Dates of the Gregorian calendar, and seconds.

use core::fmt;

/// The last year that there is here.
const LAST_YEAR: u16 = 9999;

/// Seconds of a day: UTC's leap seconds have no number of their own.
pub const SECONDS_PER_DAY: u64 = 86_400;

/// A date and a time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Year, 1970 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

impl Date {
    /// Whether there is such a date.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let Self { year, month, day, hour, minute, second } = *self;
        1970 <= year
            && year <= LAST_YEAR
            && 1 <= month
            && month <= 12
            && 1 <= day
            && day <= days_of(year, month)
            && hour < 24
            && minute < 60
            && second < 60
    }

    /// Seconds since the beginning of 1970; `None` where there is no such date.
    #[must_use]
    pub fn seconds(&self) -> Option<u64> {
        self.is_sound().then(|| {
            let time = (u64::from(self.hour) * 60 + u64::from(self.minute)) * 60;
            self.days() * SECONDS_PER_DAY + time + u64::from(self.second)
        })
    }

    /// The date so many seconds after the beginning of 1970; what would be after 9999 is its end.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        let (days, time) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        // No year is shorter, so this is at most some years too late, and never too early.
        let latest = (1970 + days / 365).min(u64::from(LAST_YEAR));
        let latest = u16::try_from(latest).unwrap_or(LAST_YEAR);
        let year = (1970..=latest).rev().find(|year| days_before(*year) <= days).unwrap_or(1970);
        let (month, day) = in_year(year, days - days_before(year));
        let part = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
        let (hour, minute, second) = (part(time / 3600), part(time / 60 % 60), part(time % 60));
        Self { year, month, day, hour, minute, second }
    }

    /// Days since the beginning of 1970, of a sound date.
    fn days(&self) -> u64 {
        let months: u64 = (1..self.month).map(|month| u64::from(days_of(self.year, month))).sum();
        days_before(self.year) + months + u64::from(self.day) - 1
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// Month and day of the day so many days after the first of `year`; of its last where there are
/// more.
fn in_year(year: u16, mut days: u64) -> (u8, u8) {
    for month in 1..=12 {
        let length = days_of(year, month);
        if days < u64::from(length) {
            return (month, u8::try_from(days + 1).unwrap_or(length));
        }
        days -= u64::from(length);
    }
    (12, 31)
}

/// Days from the beginning of 1970 to that of `year`.
fn days_before(year: u16) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let last = u64::from(year) - 1;
    (last - 1969) * 365 + leaps(last) - leaps(1969)
}

/// Days of a month.
const fn days_of(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date(year: u16, month: u8, day: u8) -> Date {
        Date { year, month, day, hour: 0, minute: 0, second: 0 }
    }

    /// Checked with `date -u -d … +%s` on another system.
    #[test]
    fn known_dates() {
        assert_eq!(date(1970, 1, 1).seconds(), Some(0));
        assert_eq!(date(2000, 3, 1).seconds(), Some(951_868_800));
        assert_eq!(date(2024, 2, 29).seconds(), Some(1_709_164_800));
        assert_eq!(date(2100, 3, 1).seconds(), Some(4_107_542_400));
        let last = Date { hour: 23, minute: 59, second: 59, ..date(9999, 12, 31) };
        assert_eq!(last.seconds(), Some(253_402_300_799));
    }

    #[test]
    fn there_are_no_other_dates() {
        let none = [date(2023, 2, 29), date(2100, 2, 29), date(2024, 4, 31), date(2024, 0, 1)];
        let more = [date(2024, 13, 1), date(2024, 1, 0), date(1969, 12, 31), date(10_000, 1, 1)];
        assert!(none.into_iter().chain(more).all(|date| date.seconds().is_none()));
        assert_eq!(Date { hour: 24, ..date(2024, 1, 1) }.seconds(), None);
        assert_eq!(Date { second: 60, ..date(2024, 1, 1) }.seconds(), None);
    }

    /// The date of the next day, by counting.
    fn tomorrow(Date { year, month, day, .. }: Date) -> Date {
        match (day < days_of(year, month), month < 12) {
            (true, _) => date(year, month, day + 1),
            (false, true) => date(year, month + 1, 1),
            (false, false) => date(year + 1, 1, 1),
        }
    }

    #[test]
    fn every_day_is_a_day_after_the_one_before() {
        let (mut today, mut seconds) = (date(1970, 1, 1), 0);
        while today.year < 2500 {
            assert_eq!(today.seconds(), Some(seconds), "{today:?}");
            assert_eq!(Date::from_seconds(seconds), today);
            (today, seconds) = (tomorrow(today), seconds + SECONDS_PER_DAY);
        }
    }

    #[test]
    fn dates_are_written_as_they_are_sorted() {
        let date = Date { hour: 7, minute: 5, second: 9, ..date(2026, 3, 1) };
        assert_eq!(alloc::format!("{date}"), "2026-03-01 07:05:09");
    }

    proptest! {
        #[test]
        fn seconds_and_dates_invert(seconds in 0u64..=253_402_300_799) {
            prop_assert_eq!(Date::from_seconds(seconds).seconds(), Some(seconds));
        }

        #[test]
        fn no_seconds_make_it_panic(seconds: u64) {
            prop_assert!(Date::from_seconds(seconds).is_sound());
        }

        #[test]
        fn no_numbers_make_it_panic(year: u16, rest: [u8; 5]) {
            let [month, day, hour, minute, second] = rest;
            let date = Date { year, month, day, hour, minute, second };
            prop_assert_eq!(date.seconds().is_some(), date.is_sound());
        }
    }
}
