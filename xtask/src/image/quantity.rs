//! Values that a manifest writes with a unit: sizes, times, ranges of ports.

use libd3os::image::PortRange;

/// `4096`, `64K`, `2M`, `1G` in bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `500us`, `5ms`, `1s` in microseconds.
pub(crate) fn microseconds(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `0x3f8-0x3ff`, both included, or a single port.
pub(crate) fn ports(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange { first: port(first)?, last: port(last)? };
    (range.first <= range.last).then_some(range)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn port(text: &str) -> Option<u16> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("64K"), Some(65_536));
        assert_eq!(size("2 M"), Some(2 << 20));
        assert_eq!(size("1G"), Some(1 << 30));
        for bad in ["", "K", "64k", "-1K", "1.5M", "64KB", "99999999999999999999", "17179869184G"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(microseconds("500us"), Some(500));
        assert_eq!(microseconds("5ms"), Some(5_000));
        assert_eq!(microseconds("1s"), Some(1_000_000));
        for bad in ["", "5", "5m", "ms", "5 minutes"] {
            assert_eq!(microseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn port_ranges() {
        assert_eq!(ports("0x3f8-0x3ff"), Some(PortRange { first: 0x3f8, last: 0x3ff }));
        assert_eq!(ports("96"), Some(PortRange { first: 96, last: 96 }));
        for bad in ["", "0x3ff-0x3f8", "0x10000", "3f8", "1-2-3"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }
}
