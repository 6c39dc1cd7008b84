//! How fast the time stamp counter runs, measured against a clock of known rate.
//!
//! A reading of the reference is bracketed by readings of the counter, so every measurement is an
//! interval that holds the true rate, however long a host keeps the processor away in between.
//! Windows are repeated, longer each time, until what is common to their brackets is tight enough; a
//! window in which a short reference wrapped unseen has nothing in common with another.

/// The two clocks that are compared.
pub trait Clocks {
    /// The counter whose rate is wanted.
    fn counter(&mut self) -> u64;
    /// The reference, counting up and wrapping at some power of two.
    fn reference(&mut self) -> u64;
}

/// The reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its rate.
    pub hertz: u64,
    /// Its highest value: 2^n - 1.
    pub mask: u64,
}

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// There is no reference, or it does not move.
    #[error(
        "ACPI's power management timer is needed to measure time with; it is missing or stands"
    )]
    NoReference,
}

/// Rates of the counter, in hertz, between which the true one lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least.
    pub least: u64,
    /// At most.
    pub most: u64,
}

impl Rate {
    /// The middle.
    pub fn hertz(self) -> u64 {
        self.least + (self.most - self.least) / 2
    }

    /// Width of the bracket in millionths of the rate.
    pub fn width_ppm(self) -> u64 {
        let width = u128::from(self.most - self.least) * 1_000_000;
        u64::try_from(width / u128::from(self.least.max(1))).unwrap_or(u64::MAX)
    }

    fn common(self, other: Self) -> Option<Self> {
        let (least, most) = (self.least.max(other.least), self.most.min(other.most));
        (least <= most).then_some(Self { least, most })
    }
}

/// A bracket of this width is tight enough: the middle is then right to half of it.
const WIDTH_PPM: u64 = 500;
/// First window in microseconds; each next one is twice as long up to the last.
const FIRST_WINDOW_US: u64 = 250;
const LAST_WINDOW_US: u64 = 16_000;
const MAX_WINDOWS: usize = 12;
/// Readings after which a reference that has not moved is taken to stand.
const PATIENCE: u32 = 100_000;

/// Measures the counter's rate.
///
/// # Errors
/// If the reference does not move.
pub fn measure(clocks: &mut impl Clocks, reference: Reference) -> Result<Rate, CalibrationError> {
    let mut window = FIRST_WINDOW_US;
    let mut known = measure_window(clocks, reference, window)?;
    for _ in 1..MAX_WINDOWS {
        window = (window * 2).min(LAST_WINDOW_US);
        let rate = measure_window(clocks, reference, window)?;
        match known.common(rate) {
            Some(common) if common.width_ppm() <= WIDTH_PPM => return Ok(common),
            common => known = common.unwrap_or(rate),
        }
    }
    Ok(known)
}

/// A moment at which the reference stepped to `value`.
#[derive(Clone, Copy)]
struct Edge {
    value: u64,
    earliest: u64,
    latest: u64,
}

fn measure_window(
    clocks: &mut impl Clocks,
    reference: Reference,
    window_us: u64,
) -> Result<Rate, CalibrationError> {
    let ticks = (u128::from(reference.hertz) * u128::from(window_us)).div_ceil(1_000_000);
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX).clamp(1, reference.mask / 2);
    let start = next_edge(clocks, reference)?;
    while elapsed(reference, start.value, clocks.reference()) < ticks {
        core::hint::spin_loop();
    }
    let end = next_edge(clocks, reference)?;
    let passed = elapsed(reference, start.value, end.value).max(1);
    let rate = |ticks: u64| {
        let hertz = u128::from(ticks) * u128::from(reference.hertz) / u128::from(passed);
        u64::try_from(hertz).unwrap_or(u64::MAX)
    };
    Ok(Rate {
        least: rate(end.earliest.saturating_sub(start.latest)),
        most: rate(end.latest - start.earliest).saturating_add(1),
    })
}

fn elapsed(reference: Reference, from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & reference.mask
}

fn next_edge(clocks: &mut impl Clocks, reference: Reference) -> Result<Edge, CalibrationError> {
    let mut earliest = clocks.counter();
    let old = clocks.reference() & reference.mask;
    for _ in 0..PATIENCE {
        let before = clocks.counter();
        let value = clocks.reference() & reference.mask;
        if value != old {
            return Ok(Edge { value, earliest, latest: clocks.counter() });
        }
        earliest = before;
    }
    Err(CalibrationError::NoReference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Clocks on a host that sometimes takes the processor away.
    struct LoadedHost {
        picoseconds: u128,
        counter_hertz: u128,
        reference: Reference,
        phase: u64,
        read_cost: u64,
        pauses: Vec<u32>,
        reads: usize,
    }

    impl LoadedHost {
        fn step(&mut self) {
            self.reads += 1;
            let pause = self.pauses[self.reads % self.pauses.len()];
            // One reading in sixteen may be followed by a pause.
            let pause = if self.reads.is_multiple_of(16) { u128::from(pause) } else { 0 };
            self.picoseconds += u128::from(self.read_cost) * 1000 + pause * 1_000_000;
        }
    }

    impl Clocks for LoadedHost {
        fn counter(&mut self) -> u64 {
            self.step();
            u64::try_from(self.picoseconds * self.counter_hertz / 1_000_000_000_000).unwrap()
        }
        fn reference(&mut self) -> u64 {
            self.step();
            let ticks = self.picoseconds * u128::from(self.reference.hertz) / 1_000_000_000_000;
            (u64::try_from(ticks).unwrap() + self.phase) & self.reference.mask
        }
    }

    const TIMER: Reference = Reference { hertz: 3_579_545, mask: 0xff_ffff };
    const PIT: Reference = Reference { hertz: 1_193_182, mask: 0xffff };

    fn host(reference: Reference, megahertz: u128, pauses: Vec<u32>) -> LoadedHost {
        LoadedHost {
            picoseconds: 0,
            counter_hertz: megahertz * 1_000_000,
            reference,
            phase: 0xfff0,
            read_cost: 700,
            pauses,
            reads: 0,
        }
    }

    #[test]
    fn a_quiet_host_is_measured_within_a_thousandth() {
        for reference in [TIMER, PIT] {
            for megahertz in [1000, 2549, 5000] {
                let rate = measure(&mut host(reference, megahertz, vec![0]), reference).unwrap();
                let error = u128::from(rate.hertz()).abs_diff(megahertz * 1_000_000);
                assert!(error < megahertz * 1000, "{reference:?} {megahertz} MHz: {rate:?}");
            }
        }
    }

    #[test]
    fn a_standing_reference_is_found_out() {
        let reference = Reference { hertz: 0, mask: 0xffff };
        let result = measure(&mut host(reference, 1000, vec![0]), reference);
        assert_eq!(result, Err(CalibrationError::NoReference));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Pauses of up to 5 ms: the bracket always holds the truth and its middle is near.
        #[test]
        fn a_loaded_host_is_measured(
            megahertz in 800u128..6000,
            read_cost in 1u64..3000,
            pauses in proptest::collection::vec(prop_oneof![3 => Just(0u32), 1 => 0u32..5000], 1..50),
        ) {
            for reference in [TIMER, PIT] {
                let mut host = host(reference, megahertz, pauses.clone());
                host.read_cost = read_cost;
                let rate = measure(&mut host, reference).unwrap();
                let truth = u64::try_from(megahertz * 1_000_000).unwrap();
                prop_assert!(rate.least <= truth + truth / 1000 && truth <= rate.most + truth / 1000, "{:?}", rate);
                prop_assert!(rate.hertz().abs_diff(truth) < truth / 50, "{:?} for {}", rate, truth);
            }
        }
    }
}
