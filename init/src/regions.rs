//! Shared memory of the manifest: where each program sees it, and of which frames it is.
//!
//! A region is one piece of core 0's RAM, a power of two in size, so that a device reaches it in a
//! row. It is made when a program that uses it is first started, which clears it, and it is kept for
//! good: what is in it outlives its users.

use alloc::vec::Vec;

use libd3os::abi::FrameSize;
use libd3os::image::{Manifest, ProgramSpec};
use libd3os::region::{RegionId, Rights};
use libd3os::start::layout::{REGION_WINDOW, WINDOW_ALIGNMENT};
use libd3os::start::{GrantKind, RegionGrant};

use crate::grants::GrantError;

/// A region in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionUse {
    /// Its position in the manifest.
    pub region: usize,
    /// What the program may do with it.
    pub kind: GrantKind,
    /// Where it is mapped.
    pub base: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl RegionUse {
    /// What the program may do with it.
    #[must_use]
    pub fn rights(&self) -> Rights {
        if self.kind == GrantKind::Reads { Rights::READ } else { Rights::READ_WRITE }
    }

    /// What the program is told, where the region's first byte is at physical address `paddr`.
    #[must_use]
    pub fn grant(&self, paddr: Option<u64>) -> RegionGrant {
        // The pool is the only other thing that regions are ranges of so far; it is number 0.
        let id = RegionId(self.region as u128 + 1);
        let bus = paddr.filter(|_| self.kind == GrantKind::Dma);
        RegionGrant { id, base: self.base, bytes: self.bytes, rights: self.rights(), bus }
    }
}

/// The regions of a program, in the order of its grants, by rising address.
///
/// # Errors
/// [`GrantError::NoRegion`] where the manifest describes no such region.
pub fn uses(manifest: &Manifest, spec: &ProgramSpec) -> Result<Vec<RegionUse>, GrantError> {
    let mut next = REGION_WINDOW;
    let mut uses = Vec::new();
    for kind in GrantKind::MEMORY {
        for name in spec.names(kind) {
            let region = manifest.regions.iter().position(|region| region.name == *name);
            let region = region.ok_or_else(|| GrantError::NoRegion(kind, name.clone()))?;
            let bytes = manifest.regions[region].bytes;
            uses.push(RegionUse { region, kind, base: next, bytes });
            next += bytes.next_multiple_of(WINDOW_ALIGNMENT);
        }
    }
    Ok(uses)
}

/// The frames that so many bytes, a power of two, are made of.
#[must_use]
pub const fn frame_size(bytes: u64) -> FrameSize {
    if bytes >= FrameSize::Large.bytes() { FrameSize::Large } else { FrameSize::Small }
}

/// How many frames so many bytes are made of.
#[must_use]
pub const fn frames(bytes: u64) -> u64 {
    bytes / frame_size(bytes).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use libd3os::image::RegionSpec;

    fn manifest() -> Manifest {
        let region = |name: &str, bytes| RegionSpec { name: name.to_string(), bytes };
        let regions = vec![region("rings", 0x1000), region("frames", 4 << 20)];
        Manifest { regions, ..Manifest::default() }
    }

    #[test]
    fn a_program_sees_its_regions_in_a_row() {
        let spec = ProgramSpec {
            regions: vec!["frames".to_string()],
            dma: vec!["rings".to_string()],
            ..ProgramSpec::default()
        };
        let uses = uses(&manifest(), &spec).expect("described");
        let places: Vec<_> = uses.iter().map(|known| (known.region, known.base)).collect();
        assert_eq!(places, [(1, REGION_WINDOW), (0, REGION_WINDOW + (4 << 20))]);
        let [frames, rings] = [0, 1].map(|index: usize| uses[index].grant(Some(0x10_0000)));
        assert_eq!((frames.bus, rings.bus), (None, Some(0x10_0000)));
        assert_eq!((frames.rights, rings.id), (Rights::READ_WRITE, RegionId(1)));
    }

    #[test]
    fn a_reader_s_memory_is_read_only_and_has_the_same_name() {
        let reads = vec!["rings".to_string()];
        let spec = ProgramSpec { reads, ..ProgramSpec::default() };
        let grant = uses(&manifest(), &spec).expect("described")[0].grant(Some(7));
        assert_eq!((grant.rights, grant.bus, grant.id), (Rights::READ, None, RegionId(1)));
    }

    #[test]
    fn what_is_not_described_is_named() {
        let regions = vec!["frame".to_string()];
        let error = uses(&manifest(), &ProgramSpec { regions, ..ProgramSpec::default() });
        let error = error.expect_err("not described").to_string();
        assert_eq!(error, "regions `frame`, which the manifest does not describe");
    }

    #[test]
    fn large_regions_are_made_of_large_frames() {
        assert_eq!((frame_size(1 << 20), frames(1 << 20)), (FrameSize::Small, 256));
        assert_eq!((frame_size(4 << 20), frames(4 << 20)), (FrameSize::Large, 2));
    }
}
