//! An entropy device behind virtio's model of a device: it answers with whole words that count up a
//! known sequence.

use std::collections::VecDeque;

use libd3os::dma::Dma;
use virtio::model::{Behind, Device};
use virtio::regs::Features;

#[derive(Debug)]
pub(crate) struct RngModel<'m> {
    device: Device<'m>,
    /// Bytes that it says to have written, answer by answer.
    answers: VecDeque<u32>,
    /// Whether it writes what it says.
    pub(crate) writes: bool,
    given: usize,
}

impl<'m> RngModel<'m> {
    pub(crate) fn new(memory: Dma<'m>, answers: impl IntoIterator<Item = u32>) -> Self {
        let device = Device::new(memory, Features::VERSION_1, &[8]);
        Self { device, answers: answers.into_iter().collect(), writes: true, given: 0 }
    }

    /// What it writes, from the first word on.
    pub(crate) fn words() -> impl Iterator<Item = u64> {
        (1u64..).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Answers once more, at once if it was asked.
    pub(crate) fn speak(&mut self, bytes: u32) {
        self.answers.push_back(bytes);
        self.serve();
    }

    fn serve(&mut self) {
        while let Some(bytes) = self.answers.front().copied()
            && let Some(chain) = self.device.pop(0)
        {
            self.answers.pop_front();
            let [part] = chain.parts[..] else { panic!("one buffer") };
            let whole = (bytes.min(part.bytes) / 8) as usize;
            if self.writes {
                let words: Vec<u8> =
                    Self::words().skip(self.given).take(whole).flat_map(u64::to_le_bytes).collect();
                self.device.write(part, &words);
                self.given += whole;
            }
            self.device.push(0, chain.head, bytes);
        }
    }
}

impl<'m> Behind<'m> for RngModel<'m> {
    fn device(&mut self) -> &mut Device<'m> {
        &mut self.device
    }

    fn notified(&mut self) {
        self.serve();
    }
}
