//! What init tells about itself.

use alloc::vec::Vec;

use init::grants::services;
use init::own::{Thread, initial, row};
use libd3os::abi::{BootInfo, SlotRegion};
use libd3os::cap::Capability;
use libd3os::image::Manifest;
use libd3os::service::supervisor::CapabilityInfo;

use super::held::Held;
use super::kernel::{CONTEXT, PRIORITY, SECOND, SPACE};
use super::program::Program;
use super::resources::Shared;
use super::site::core_of;
use super::ticker::Ticker;

/// Init's own account.
#[derive(Debug)]
pub(super) struct Own {
    untyped: SlotRegion,
    image: SlotRegion,
    sched_control: u64,
    core: u32,
    main_us: u64,
}

impl Own {
    /// From what the kernel told.
    pub(super) fn new(info: &BootInfo) -> Self {
        let (untyped, image) = (info.untyped, info.user_image_frames);
        let sched_control = info.sched_control.start;
        Self { untyped, image, sched_control, core: core_of(info), main_us: 0 }
    }

    /// Both threads.
    pub(super) fn threads(&mut self, ticker: &mut Ticker) -> [Thread; 2] {
        // The kernel's figure begins anew with each question.
        self.main_us += CONTEXT.consumed().unwrap_or(0);
        let main =
            Thread { name: "main", priority: PRIORITY, share_us: (0, 0), cpu_us: self.main_us };
        [main, ticker.thread()]
    }

    /// What init holds: what the kernel gave it, what programs share, and what it made for each.
    pub(super) fn capabilities(
        &self,
        manifest: &Manifest,
        shared: &Shared,
        held: &Held,
        programs: &[Program],
    ) -> Vec<CapabilityInfo> {
        let time = row(
            self.sched_control,
            "SchedControl",
            alloc::format!("the time of core {}", self.core),
        );
        let mut rows: Vec<_> = initial(self.untyped, self.image).chain([time]).collect();
        rows.push(row(
            shared.own_endpoint_slot(),
            "endpoint",
            "serves supervisor, log, devices, faults".into(),
        ));
        rows.extend(services(manifest).enumerate().map(|(number, (name, _))| {
            row(shared.service_slot(number), "endpoint", alloc::format!("for the server of {name}"))
        }));
        rows.extend(shared.hardware());
        rows.extend(held.rows(manifest));
        let more = [(SECOND, "more of init's capability space"), (SPACE, "both parts of it")];
        rows.extend(
            more.map(|(cnode, detail)| row(cnode.cptr().address(), "CNode", detail.into())),
        );
        let equipped = programs.iter().filter(|program| program.is_equipped());
        rows.extend(equipped.map(|program| {
            let count = program.draft.plan.slots();
            let detail =
                alloc::format!("all that {} is made of, {count} in a row", program.draft.spec.name);
            row(program.objects, "objects", detail)
        }));
        rows.sort_by_key(|row| row.slot);
        rows
    }
}
