//! Tests of what is decided about devices.

use super::*;
use libd3os::device::NvdimmRange;
use libd3os::image::{AcpiDevice, PciId};
use proptest::prelude::*;

const NIC: usize = 0;
const SCREEN: usize = 1;
const CLOCK: usize = 2;

fn manifest() -> Manifest {
    let device = |name: &str| DeviceSpec { name: name.to_string(), ..DeviceSpec::default() };
    let devices = vec![
        DeviceSpec { pci: vec![PciId { vendor: 0x1af4, device: 0x1041 }], ..device("nic") },
        DeviceSpec { boot: Some(BootDevice::Framebuffer), ..device("screen") },
        DeviceSpec { acpi: Some(AcpiDevice::Hpet), ..device("clock") },
    ];
    let program = |devices: &[&str]| ProgramSpec {
        devices: devices.iter().map(ToString::to_string).collect(),
        ..ProgramSpec::default()
    };
    let programs = vec![program(&["clock", "nic"]), program(&["screen"]), program(&[])];
    Manifest { devices, programs, ..Manifest::default() }
}

fn program(index: usize) -> ProgramNumber {
    ProgramNumber::from_index(index).expect("small")
}

const POOL: Range<u64> = 0x800_0000..0x900_0000;

fn devices() -> Devices {
    Devices::new(&manifest(), POOL)
}

fn window(bar: u8, offset: u64, paddr: u64, bytes: u64) -> ProvidedWindow {
    ProvidedWindow { bar, offset, paddr, bytes, caching: Caching::Uncached }
}

fn made_of(windows: Vec<ProvidedWindow>) -> Provided {
    let identity =
        DeviceIdentity::Hpet { comparators: 3, wide: true, minimum_tick: 100, input: Some(8) };
    Provided { identity, windows, interrupt: ProvidedInterrupt::Message }
}

fn nvdimm_range(index: u16, unarmed: bool) -> NvdimmRange {
    NvdimmRange { index, handle: 1, bytes: 64 << 20, node: None, unarmed }
}

fn nic() -> Provided {
    made_of(vec![window(1, 0, 0xfebf_0000, 0x1000), window(4, 0, 0xfe00_0000, 0x4000)])
}

/// Tells and holds, as the process does.
fn provide(devices: &mut Devices, name: &str, provided: Provided) -> Result<Told, DevicesError> {
    let told = devices.check(name, &provided)?;
    if let Told::New(index) = told {
        devices.hold(index, provided);
    }
    Ok(told)
}

#[test]
fn a_program_waits_until_its_devices_are_wired() {
    let mut devices = devices();
    let ready = |devices: &Devices, start| devices.readiness(program(0), start);
    assert_eq!(ready(&devices, StartPolicy::Boot), Readiness::Waits);
    assert_eq!(devices.readiness(program(2), StartPolicy::Boot), Readiness::Ready);
    assert_eq!(provide(&mut devices, "nic", nic()), Ok(Told::New(NIC)));
    assert_eq!(devices.absent("clock"), Ok((CLOCK, Missing::Absent)));
    assert_eq!(ready(&devices, StartPolicy::Boot), Readiness::Waits, "it is not wired");
    assert_eq!(devices.ready("nic"), Ok(NIC));
    assert_eq!(ready(&devices, StartPolicy::Boot), Readiness::Ready);
    let lacks = Readiness::Lacks("clock".to_string());
    assert_eq!(ready(&devices, StartPolicy::Device), lacks);
    assert!(devices.of(program(0)).eq([CLOCK, NIC]), "as the program names them");
}

#[test]
fn a_device_is_reset_before_its_program_runs_again() {
    let mut devices = devices();
    provide(&mut devices, "nic", nic()).expect("sound");
    devices.ready("nic").expect("held");
    devices.absent("clock").expect("not held");
    assert_eq!(devices.ended(program(0)), 1);
    assert_eq!(devices.readiness(program(0), StartPolicy::Boot), Readiness::Waits);
    assert_eq!(devices.ended(program(0)), 0, "it has not run since");
    assert_eq!(provide(&mut devices, "nic", nic()), Ok(Told::Known(NIC)));
    assert_eq!(devices.readiness(program(0), StartPolicy::Boot), Readiness::Waits);
    devices.ready("nic").expect("held");
    assert_eq!(devices.readiness(program(0), StartPolicy::Boot), Readiness::Ready);
}

#[test]
fn who_needs_a_device_waits_for_it_once() {
    let mut manifest = manifest();
    manifest.programs[2].needs = vec!["nic".to_string()];
    let mut devices = Devices::new(&manifest, POOL);
    let needing = |devices: &Devices| devices.readiness(program(2), StartPolicy::Device);
    assert_eq!(needing(&devices), Readiness::Waits);
    assert_eq!(devices.waiting_for(NIC), [program(0), program(2)]);
    provide(&mut devices, "nic", nic()).expect("sound");
    devices.ready("nic").expect("held");
    assert_eq!(needing(&devices), Readiness::Ready);
    devices.ended(program(0));
    assert_eq!(needing(&devices), Readiness::Ready, "it does not drive it");
    assert_eq!(devices.ended(program(2)), 0);
    let mut without = Devices::new(&manifest, POOL);
    without.absent("nic").expect("it is open");
    assert_eq!(needing(&without), Readiness::Lacks("nic".to_string()));
    assert_eq!(without.readiness(program(2), StartPolicy::Manual), Readiness::Ready);
}

#[test]
fn pages_are_where_they_are_in_their_range() {
    let mut devices = devices();
    let ranges = vec![nvdimm_range(1, false), nvdimm_range(2, true)];
    let windows = vec![window(0, 0, 1 << 32, (4 << 20) + 0x3000), window(1, 0, 3 << 32, 2 << 20)];
    let identity = DeviceIdentity::Nvdimm { ranges, domain: None };
    provide(&mut devices, "nic", Provided { identity, ..made_of(windows) }).expect("sound");
    let pages = |range, offset, pages| devices.persistent_pages(range, offset, pages);
    let start = (1 << 32) + 0x1000;
    assert_eq!(pages(0, 0x1000, 3), Ok((start..start + 0x3000, Rights::READ_WRITE)));
    assert_eq!(pages(1, 0, 512), Ok((3 << 32..(3 << 32) + (2 << 20), Rights::READ)));
    assert_eq!(pages(0, 0x800, 1), Err(PersistentError::Misaligned(0x800)));
    assert_eq!(pages(0, 0, 0), Err(PersistentError::Misaligned(0)));
    assert_eq!(pages(0, 4 << 20, 1), Err(PersistentError::Outside(4 << 20)), "no whole piece");
    assert_eq!(pages(0, (4 << 20) - 0x1000, 2), Err(PersistentError::Outside((4 << 20) - 0x1000)));
    let last = !0xfff;
    assert_eq!(pages(0, last, u32::MAX), Err(PersistentError::Outside(last)));
    assert_eq!(pages(2, 0, 1), Err(PersistentError::NoSuchRange(2)));
}

#[test]
fn what_runs_stays_what_it_is() {
    let mut devices = devices();
    provide(&mut devices, "nic", nic()).expect("sound");
    let other = made_of(vec![window(0, 0, 0xfd00_0000, 0x1000)]);
    assert_eq!(provide(&mut devices, "nic", other.clone()), Ok(Told::New(NIC)), "not wired yet");
    devices.ready("nic").expect("held");
    assert_eq!(provide(&mut devices, "nic", nic()), Err(DevicesError::IsOther));
    assert_eq!(devices.absent("nic"), Err(DevicesError::State(DeviceState::Ready)));
    assert_eq!(provide(&mut devices, "nic", other), Ok(Told::Known(NIC)));
    devices.ended(program(0));
    assert_eq!(provide(&mut devices, "nic", nic()), Ok(Told::New(NIC)));
    let state = DeviceState::Unsettled;
    assert_eq!(devices.ready("clock"), Err(DevicesError::State(state)));
    assert_eq!(devices.ready("cloak"), Err(DevicesError::NoSuchDevice("cloak".to_string())));
}

#[test]
fn without_anyone_to_tell_what_is_open_is_absent() {
    let mut devices = devices();
    provide(&mut devices, "nic", nic()).expect("sound");
    devices.ready("nic").expect("held");
    assert!(devices.has_open());
    let boot = Missing::AskBootLoader(SCREEN, BootDevice::Framebuffer);
    assert_eq!(devices.abandon(), [(SCREEN, boot), (CLOCK, Missing::Absent)]);
    devices.hold_from_boot(SCREEN, screen_device((0xfd00_0000, Screen::default())));
    assert!(!devices.has_open());
    assert_eq!(devices.readiness(program(1), StartPolicy::Device), Readiness::Ready);
    // Nobody has to reset what the boot loader set up.
    assert_eq!(devices.ended(program(1)), 0);
    // A driver that ends then cannot be started again: its device may be in the middle of anything.
    devices.ended(program(0));
    assert_eq!(devices.abandon(), [(NIC, Missing::Absent)]);
    assert_eq!(devices.grant(NIC), None);
}

#[test]
fn senseless_windows_are_refused() {
    let refused = |windows| devices().check("nic", &made_of(windows)).err();
    let not_pages = |paddr, bytes| Some(DevicesError::NotPages { paddr, bytes });
    assert_eq!(refused(vec![window(0, 0, 0xfe00_0400, 0x1000)]), not_pages(0xfe00_0400, 0x1000));
    assert_eq!(refused(vec![window(0, 0, 0xfe00_0000, 0x400)]), not_pages(0xfe00_0000, 0x400));
    assert_eq!(refused(vec![window(0, 0, 0xfe00_0000, 0)]), not_pages(0xfe00_0000, 0));
    assert_eq!(refused(vec![window(0, 8, 0xfe00_0000, 0x1000)]), not_pages(0xfe00_0000, 0x1000));
    let last = !0xfff;
    assert_eq!(refused(vec![window(2, 0, last, 0x2000)]), Some(DevicesError::BadWindow(2)));
    assert_eq!(refused(vec![window(2, last, 0, 0x2000)]), Some(DevicesError::BadWindow(2)));
    assert_eq!(
        refused(vec![window(2, 0, 1 << 40, DEVICE_SPAN + 0x1000)]),
        Some(DevicesError::BadWindow(2))
    );
    let twice = [window(1, 0, 0xfe00_0000, 0x1000), window(1, 0, 0xfe00_1000, 0x1000)];
    assert_eq!(refused(twice.to_vec()), Some(DevicesError::BadWindow(1)));
    let shared = [window(1, 0, 0xfe00_0000, 0x2000), window(2, 0, 0xfe00_1000, 0x1000)];
    assert_eq!(refused(shared.to_vec()), Some(DevicesError::BadWindow(2)));
    let ranges = (0..300).map(|index| nvdimm_range(index, false));
    let identity = DeviceIdentity::Nvdimm { ranges: ranges.collect(), domain: None };
    let large = Provided { identity, ..nic() };
    assert_eq!(devices().check("nic", &large), Err(DevicesError::TooManyWindows));
    let many = (0..17u8).map(|bar| window(bar, 0, u64::from(bar) << 20, 0x1000)).collect();
    assert_eq!(refused(many), Some(DevicesError::TooManyWindows));
    assert_eq!(
        refused(vec![window(0, 0, POOL.start - 0x1000, 0x2000)]),
        Some(DevicesError::SharedPool(POOL.start))
    );
}

#[test]
fn persistent_memory_is_mapped_in_pieces() {
    const PIECE: u64 = PERSISTENT_BYTES;
    let mut devices = devices();
    assert_eq!(devices.persistent(0, 0), Err(PersistentError::NoSuchRange(0)));
    let ranges = vec![nvdimm_range(1, false), nvdimm_range(2, true), nvdimm_range(3, false)];
    let windows = vec![
        window(1, 0, 3 << 32, 64 << 20),
        window(0, 0, 1 << 32, 64 << 20),
        window(2, 0, (5 << 32) + 0x1000, 64 << 20),
    ];
    let identity = DeviceIdentity::Nvdimm { ranges, domain: None };
    let nvdimm = Provided { identity, ..made_of(windows) };
    provide(&mut devices, "nic", nvdimm).expect("sound");
    assert_eq!(devices.windows(NIC), [], "nothing is mapped as a whole");
    assert_eq!(devices.grant(NIC).map(|grant| grant.windows.len()), Some(0));
    let last = (64 << 20) - PIECE;
    assert_eq!(devices.persistent(0, last), Ok(((1 << 32) + last, Rights::READ_WRITE)));
    assert_eq!(devices.persistent(1, 0), Ok((3 << 32, Rights::READ)), "it is not armed");
    assert_eq!(devices.persistent(0, 64 << 20), Err(PersistentError::Outside(64 << 20)));
    assert_eq!(devices.persistent(0, 0x1000), Err(PersistentError::Misaligned(0x1000)));
    assert_eq!(devices.persistent(2, 0), Err(PersistentError::Outside(0)), "no large frames");
    assert_eq!(devices.persistent(3, 0), Err(PersistentError::NoSuchRange(3)));
    assert_eq!(devices.persistent_gib(0, 0), Err(PersistentError::Outside(0)), "64 MiB");
    assert_eq!(devices.persistent_gib(0, PIECE), Err(PersistentError::Misaligned(PIECE)));
    let absent = Err(PersistentError::NoSuchRange(VOLATILE_RANGE));
    assert_eq!(devices.persistent(VOLATILE_RANGE, 0), absent);
    devices.set_volatile(8 << 20..12 << 20);
    let ram = (10 << 20, Rights::READ_WRITE);
    assert_eq!(devices.persistent(VOLATILE_RANGE, PIECE), Ok(ram));
    assert_eq!(
        devices.persistent(VOLATILE_RANGE, 2 * PIECE),
        Err(PersistentError::Outside(4 << 20))
    );
    let far = u64::MAX - u64::MAX % PIECE;
    assert_eq!(devices.persistent(0, far), Err(PersistentError::Outside(far)));
}

#[test]
fn a_gib_is_one_where_a_huge_frame_can_be() {
    const GIB: u64 = 1 << 30;
    let mut devices = devices();
    let ranges = vec![nvdimm_range(1, false), nvdimm_range(2, true), nvdimm_range(3, false)];
    let windows = vec![
        window(0, 0, 4 * GIB, 128 * GIB),
        window(1, 0, 200 * GIB, 2 * GIB),
        window(2, 0, 300 * GIB + PERSISTENT_BYTES, 2 * GIB),
    ];
    let identity = DeviceIdentity::Nvdimm { ranges, domain: None };
    let nvdimm = Provided { identity, ..made_of(windows) };
    provide(&mut devices, "nic", nvdimm).expect("sound");
    assert_eq!(devices.persistent_gib(0, 127 * GIB), Ok((131 * GIB, Rights::READ_WRITE)));
    assert_eq!(devices.persistent_gib(0, 128 * GIB), Err(PersistentError::Outside(128 * GIB)));
    assert_eq!(devices.persistent_gib(1, GIB), Ok((201 * GIB, Rights::READ)));
    assert_eq!(devices.persistent_gib(2, 0), Err(PersistentError::TooLarge(0)));
    devices.set_volatile(0..4 * GIB);
    let refused = Err(PersistentError::Misaligned(0));
    assert_eq!(devices.persistent_gib(VOLATILE_RANGE, 0), refused, "its frames are small");
}

#[test]
fn no_device_gets_what_another_has() {
    let mut devices = devices();
    provide(&mut devices, "nic", nic()).expect("sound");
    let clock = made_of(vec![window(0, 0, 0xfdff_f000, 0x2000)]);
    let overlaps = DevicesError::Overlaps { paddr: 0xfe00_0000, other: "nic".to_string() };
    assert_eq!(devices.check("clock", &clock), Err(overlaps));
    devices.absent("nic").expect("it does not run");
    assert_eq!(devices.check("clock", &clock), Ok(Told::New(CLOCK)));
}

#[test]
fn a_driver_is_told_where_its_device_is() {
    let mut devices = devices();
    let msix = vec![
        window(4, 0x4000, 0xfe00_4000, 0x1000),
        window(4, 0, 0xfe00_0000, 0x3000),
        window(0, 0, 0xe020_0000, 0x40_0000),
    ];
    provide(&mut devices, "nic", made_of(msix)).expect("sound");
    let grant = devices.grant(NIC).expect("held");
    assert!(grant.interrupts);
    // It is the second device of its program.
    let first = DEVICE_WINDOW + DEVICE_SPAN;
    let places: Vec<_> = grant.windows.iter().map(|w| (w.bar, w.offset, w.base)).collect();
    let second = first + 0x40_0000;
    assert_eq!(places, [(0, 0, first), (4, 0, second), (4, 0x4000, second + 0x4000)]);
    let physical: Vec<_> = devices.windows(NIC).iter().map(|(_, paddr)| *paddr).collect();
    assert_eq!(physical, [0xe020_0000, 0xfe00_0000, 0xfe00_4000]);
}

#[test]
fn vectors_come_from_the_top_and_come_back() {
    let mut vectors = Vectors::new(&Manifest {
        resources: vec![libd3os::image::Resource {
            irq: Some(libd3os::image::IrqLine {
                pin: 107,
                trigger: libd3os::image::Trigger::Edge,
                polarity: libd3os::image::Polarity::ActiveHigh,
            }),
            ..Default::default()
        }],
        ..Manifest::default()
    });
    let before = vectors.clone();
    let pin = ProvidedInterrupt::Pin { gsi: 16, level: true, low: true };
    assert_eq!(vectors.take(ProvidedInterrupt::Message), Ok(106));
    assert_eq!(vectors.take(pin), Ok(105));
    assert_eq!(vectors.take(pin), Err(DevicesError::BadPin(16)));
    let taken = ProvidedInterrupt::Pin { gsi: 107, level: false, low: false };
    assert_eq!(vectors.take(taken), Err(DevicesError::BadPin(107)));
    vectors.give_back(105, pin);
    vectors.give_back(106, ProvidedInterrupt::Message);
    assert_eq!(vectors, before);
    let all = (0..200).filter(|_| vectors.take(ProvidedInterrupt::Message).is_ok()).count();
    assert_eq!(all, 107);
    assert_eq!(vectors.take(ProvidedInterrupt::Message), Err(DevicesError::NoVector));
}

#[test]
fn the_boot_loader_s_screen_is_read() {
    let tag = |address: u64, pitch: u32, bits: u8, kind: u8| {
        let words = [pitch, 1024, 768].map(u32::to_le_bytes).concat();
        [&address.to_le_bytes()[..], &words, &[bits, kind]].concat()
    };
    let (address, screen) = boot_screen(&tag(0xfd00_0000, 5120, 32, 1)).expect("a screen");
    assert_eq!(
        (address, screen.width, screen.height, screen.pitch),
        (0xfd00_0000, 1024, 768, 5120)
    );
    assert_eq!((screen.red.position, screen.blue.size), (16, 8));
    let device = screen_device((address, screen));
    assert_eq!(device.windows[0].bytes, 5120 * 768);
    for bad in [tag(0, 5120, 32, 1), tag(1, 5120, 32, 2), tag(1, 4000, 32, 1), tag(1, 5120, 8, 1)] {
        assert_eq!(boot_screen(&bad), None);
    }
    assert_eq!(boot_screen(&tag(1, 5120, 32, 1)[..21]), None);
}

proptest! {
    /// Windows of whatever shape that are taken lie apart in the program, inside its device's span,
    /// and large ones so that large frames fit.
    #[test]
    fn windows_lie_apart(
        shapes in prop::collection::vec((0u8..6, 0u64..0x1000, 0u64..0x10_0000, 1u64..0x4_0000), 1..10),
    ) {
        let windows: Vec<_> = shapes
            .iter()
            .map(|(bar, offset, page, pages)| window(*bar, offset << 12, page << 12, pages << 12))
            .collect();
        let devices = Devices::new(&manifest(), 0..0);
        if devices.check("nic", &made_of(windows.clone())).is_ok() {
            let placed = layout(1, &windows).expect("checked");
            prop_assert_eq!(placed.len(), windows.len());
            let span = DEVICE_WINDOW + DEVICE_SPAN..DEVICE_WINDOW + 2 * DEVICE_SPAN;
            for pair in placed.windows(2) {
                prop_assert!(pair[0].base + pair[0].bytes <= pair[1].base);
            }
            for window in placed {
                prop_assert!(span.start <= window.base && window.base + window.bytes <= span.end);
            }
        }
    }
}
