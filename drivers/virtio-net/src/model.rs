//! The card for the tests: virtio's model of a device, with frames on its wire.

use libd3os::dma::Dma;
use virtio::model::{self, Behind};
use virtio::regs::Features;

use crate::regs::{HEADER_BYTES, RECEIVE_QUEUE, TRANSMIT_QUEUE};

/// A card at whose other end the test sits.
#[derive(Debug)]
pub(crate) struct Model<'m>(pub(crate) model::Device<'m>);

impl<'m> Model<'m> {
    pub(crate) fn new(memory: Dma<'m>, offers: Features, sizes: [u16; 2]) -> Self {
        let mut device = model::Device::new(memory, offers, &sizes);
        device.configuration = vec![2, 0, 0, 0, 0, 7, 1, 0, 1, 0, 0x68, 0x10, 0xe8, 3, 0, 0, 1];
        Self(device)
    }

    /// A frame comes in from the wire; `false` where the driver has given no buffer.
    pub(crate) fn arrives(&mut self, frame: &[u8]) -> bool {
        let Some(chain) = self.0.pop(RECEIVE_QUEUE.into()) else { return false };
        let [part] = chain.parts[..] else { panic!("one buffer for header and frame") };
        let bytes = [&[0; HEADER_BYTES - 2][..], &[1, 0], frame].concat();
        self.0.write(part, &bytes);
        self.0.push(RECEIVE_QUEUE.into(), chain.head, u32::try_from(bytes.len()).expect("short"));
        true
    }

    /// The next frame goes out onto the wire.
    pub(crate) fn leaves(&mut self) -> Option<Vec<u8>> {
        let chain = self.0.pop(TRANSMIT_QUEUE.into())?;
        let bytes: Vec<u8> = chain.parts.iter().flat_map(|part| self.0.read(*part)).collect();
        let (header, frame) = bytes.split_at(HEADER_BYTES);
        assert_eq!(header, [0; HEADER_BYTES], "no offloads were negotiated");
        self.0.push(TRANSMIT_QUEUE.into(), chain.head, 0);
        Some(frame.to_vec())
    }
}

impl<'m> Behind<'m> for Model<'m> {
    fn device(&mut self) -> &mut model::Device<'m> {
        &mut self.0
    }
}
