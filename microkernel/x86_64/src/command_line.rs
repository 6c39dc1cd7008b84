//! The kernel's command line: options separated by spaces, unknown ones left to others.

use heapless::Vec;

/// Bytes that are kept of a command line.
pub const MAX_COMMAND_LINE: usize = 1024;

/// A command line, copied out of the boot loader's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<u8, MAX_COMMAND_LINE>);

impl CommandLine {
    /// A copy of `bytes`, cut to [`MAX_COMMAND_LINE`].
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().take(MAX_COMMAND_LINE).collect())
    }

    /// As it was given.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the kernel itself understands of it.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        for word in self.0.split(u8::is_ascii_whitespace) {
            let word = core::str::from_utf8(word).unwrap_or_default();
            match word.split_once('=').unwrap_or((word, "")) {
                ("quiet", "") => options.quiet = true,
                ("mitigations", "auto") => options.mitigations = Mitigations::Auto,
                ("mitigations", "on") => options.mitigations = Mitigations::On,
                ("mitigations", "off") => options.mitigations = Mitigations::Off,
                ("cores", cores) => options.cores = cores.parse().ok(),
                ("pool", size) => options.pool = parse_size(size),
                _ => {}
            }
        }
        options
    }
}

/// Options of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Print nothing but panics.
    pub quiet: bool,
    /// What to do against speculative execution.
    pub mitigations: Mitigations,
    /// Most cores that get a kernel instance.
    pub cores: Option<usize>,
    /// Bytes of the memory that all instances share.
    pub pool: Option<u64>,
}

/// A number of bytes, or of `K`, `M` or `G`.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// What to do against attacks by speculative execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mitigations {
    /// What the processor is known to need.
    #[default]
    Auto,
    /// Everything that there is.
    On,
    /// Nothing that costs time.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(line: &str) -> Options {
        CommandLine::new(line.as_bytes()).options()
    }

    #[test]
    fn options_are_found_among_others() {
        assert_eq!(options(""), Options::default());
        assert_eq!(
            options("kernel.elf  quiet exit_port=0xf4 other=1"),
            Options { quiet: true, ..Options::default() }
        );
        assert_eq!(options("mitigations=off").mitigations, Mitigations::Off);
        assert_eq!(options("mitigations=on quiet").mitigations, Mitigations::On);
        assert_eq!(options("mitigations=some").mitigations, Mitigations::Auto);
        assert_eq!(options("cores=4").cores, Some(4));
        assert_eq!(options("cores=-1").cores, None);
        let sizes = ["pool=4096", "pool=3K", "pool=64M", "pool=2G", "pool=M", "pool=99999999999G"];
        let parsed = sizes.map(|line| options(line).pool);
        assert_eq!(parsed, [Some(4096), Some(3072), Some(64 << 20), Some(2 << 30), None, None]);
        assert_eq!(options("disquiet"), Options::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let line = CommandLine::new(&bytes);
            prop_assert_eq!(line.bytes(), &bytes[..bytes.len().min(MAX_COMMAND_LINE)]);
            let _ = line.options();
        }
    }
}
