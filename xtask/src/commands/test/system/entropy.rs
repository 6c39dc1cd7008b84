//! Random bytes where the processor has no instruction for them.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains, unexpected};
use crate::vm::{Iommu, Machine};

pub(crate) const TESTS: [Test; 2] = [
    ("entropy::a_virtio_device_seeds_the_generator", virtio),
    ("entropy::without_a_source_it_is_said", without),
];

/// A processor that can do all but that.
const PROCESSOR: &str = "max,-rdrand,-rdseed";
/// How often the driver's trace is looked at.
const LOOKS: u32 = 60;

/// Behind the IOMMU, and again for the driver's next instance; the network server asks for a seed.
fn virtio(lab: &Lab<'_>) -> Outcome {
    let device = "virtio-rng-pci,iommu_platform=on,disable-legacy=on";
    let extra = ["-cpu", PROCESSOR, "-device", device].map(Into::into).to_vec();
    let machine = Machine { iommu: Iommu::Present, extra, ..lab.machine() };
    let mut session = Session::at_prompt(&machine)?;
    traced(&mut session, &["seeded by virtio-rng", "gave 8 bytes"])?;
    contains(&session.run("kill entropy")?, &["`entropy` was ended"])?;
    traced(&mut session, &["seeded by virtio-rng"])
}

fn without(lab: &Lab<'_>) -> Outcome {
    let extra = ["-cpu", PROCESSOR].map(Into::into).to_vec();
    let mut session = Session::at_prompt(&Machine { extra, ..lab.machine() })?;
    traced(&mut session, &["gave none: not seeded"])?;
    let log = session.run("log -n 60")?;
    contains(&log, &["this machine gives no random bits"])?;
    contains(&log, &["ports and sequence numbers can be guessed"])
}

/// Waits until the driver's trace has all of these: it starts when the machine's devices are known, and
/// the network server after it.
fn traced(session: &mut Session, wanted: &[&str]) -> Outcome {
    for _ in 0..LOOKS {
        if contains(&session.run("trace entropy")?, wanted).is_ok() {
            return Ok(());
        }
        session.run("sleep 100")?;
    }
    Err(unexpected(format!("no {wanted:?} in the trace"), &session.run("trace entropy")?))
}
