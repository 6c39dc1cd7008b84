//! Amounts as people read them.

use alloc::format;
use alloc::string::String;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// An amount of memory, with at most one decimal, rounded down: free memory is never overstated.
pub fn bytes(count: u64) -> String {
    match count {
        ..KIB => format!("{count} B"),
        KIB..MIB => one_decimal(count, KIB, "KiB"),
        MIB..GIB => one_decimal(count, MIB, "MiB"),
        GIB..TIB => one_decimal(count, GIB, "GiB"),
        TIB.. => one_decimal(count, TIB, "TiB"),
    }
}

/// An amount of memory as people write it: `4096`, `64K`, `8M`, `2G`, in bytes; nothing where it is none.
pub fn bytes_of(text: &str) -> Option<u64> {
    let units = [("K", KIB), ("M", MIB), ("G", GIB)];
    let found = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (number, unit) = found.unwrap_or((text, 1));
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A span of time given in microseconds, rounded down.
pub fn microseconds(us: u64) -> String {
    match us {
        ..MILLISECOND => format!("{us} µs"),
        MILLISECOND..SECOND => one_decimal(us, MILLISECOND, "ms"),
        SECOND..MINUTE => one_decimal(us, SECOND, "s"),
        MINUTE..HOUR => format!("{} min {} s", us / MINUTE, us % MINUTE / SECOND),
        HOUR..DAY => format!("{} h {} min", us / HOUR, us % HOUR / MINUTE),
        DAY.. => format!("{} d {} h", us / DAY, us % DAY / HOUR),
    }
}

/// A time since the machine's start in microseconds, as the log shows it: seconds, all decimals.
pub fn since_start(us: u64) -> String {
    format!("{}.{:06}", us / SECOND, us % SECOND)
}

/// `1 program`, `2 programs`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn one_decimal(value: u64, unit: u64, name: &str) -> String {
    let (whole, tenths) = (value / unit, value % unit * 10 / unit);
    match tenths {
        0 => format!("{whole} {name}"),
        _ => format!("{whole}.{tenths} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        let read = ["7", "64K", "8M", "2G"].map(bytes_of);
        assert_eq!(read, [Some(7), Some(64 << 10), Some(8 << 20), Some(2 << 30)]);
        for bad in ["", "K", "8m", "8 M", "-1", "99999999999G"] {
            assert_eq!(bytes_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory() {
        let shown = [0, 1023, 1024, 1536, 64 << 10, (512 << 20) - 1, 3 << 30, u64::MAX / 2];
        assert_eq!(
            shown.map(bytes),
            ["0 B", "1023 B", "1 KiB", "1.5 KiB", "64 KiB", "511.9 MiB", "3 GiB", "8388607.9 TiB"]
        );
    }

    #[test]
    fn time() {
        let shown = [0, 999, 1_000, 5_250, 12_300_000, 200_000_000, 7_500_000_000, 4 * DAY];
        assert_eq!(
            shown.map(microseconds),
            ["0 µs", "999 µs", "1 ms", "5.2 ms", "12.3 s", "3 min 20 s", "2 h 5 min", "4 d 0 h"]
        );
    }
}
