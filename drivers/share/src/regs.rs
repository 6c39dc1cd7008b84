//! What a 9P device tells of itself.

use virtio::regs::Features;

/// The device has a mount tag: the share's name.
pub const MOUNT_TAG: Features = Features::from_bits_retain(1);

/// The one queue: each chain is a request, which the device reads, and room for its answer.
pub const REQUESTS: u16 = 0;

/// Bytes of the configuration that are looked at: the tag's length, two bytes, and the tag.
pub const CONFIG_BYTES: usize = 2 + TAG_MOST;
/// Bytes of a tag that are shown.
const TAG_MOST: usize = 30;

/// The tag in a configuration, as far as it is shown.
#[must_use]
pub fn tag(config: &[u8; CONFIG_BYTES]) -> &[u8] {
    let ([low, high, ..], tag) = (config, &config[2..]);
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    tag.get(..length).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_as_long_as_they_say() {
        let mut config = [b'x'; CONFIG_BYTES];
        config[..6].copy_from_slice(b"\x04\x00host");
        assert_eq!(tag(&config), b"host");
        config[1] = 0xff;
        assert_eq!(tag(&config).len(), TAG_MOST);
    }
}
