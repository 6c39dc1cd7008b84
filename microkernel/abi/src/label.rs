//! Invocation labels: the label field of the message that invokes a kernel object.

macro_rules! labels {
    ($($name:ident = $number:literal,)*) => {
        /// An invocation of the MCS configuration (`object_method` of the manual, in one word).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        #[expect(missing_docs, reason = "each is the manual's own name")]
        pub enum Label { $($name = $number,)* }

        impl Label {
            /// Every label, in order of number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The label with this number, or `None`.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What the message info carries.
            #[must_use]
            pub const fn number(self) -> u64 {
                self as u64
            }
        }
    };
}

labels! {
    UntypedRetype = 1,
    TcbReadRegisters = 2,
    TcbWriteRegisters = 3,
    TcbCopyRegisters = 4,
    TcbConfigure = 5,
    TcbSetPriority = 6,
    TcbSetMcPriority = 7,
    TcbSetSchedParams = 8,
    TcbSetTimeoutEndpoint = 9,
    TcbSetIpcBuffer = 10,
    TcbSetSpace = 11,
    TcbSuspend = 12,
    TcbResume = 13,
    TcbBindNotification = 14,
    TcbUnbindNotification = 15,
    TcbSetTlsBase = 16,
    TcbSetFlags = 17,
    CNodeRevoke = 18,
    CNodeDelete = 19,
    CNodeCancelBadgedSends = 20,
    CNodeCopy = 21,
    CNodeMint = 22,
    CNodeMove = 23,
    CNodeMutate = 24,
    CNodeRotate = 25,
    IrqControlGet = 26,
    IrqHandlerAck = 27,
    IrqHandlerSetNotification = 28,
    IrqHandlerClear = 29,
    DomainSetSet = 30,
    DomainSetScheduleConfigure = 31,
    DomainSetScheduleSetStart = 32,
    SchedControlConfigureFlags = 33,
    SchedContextBind = 34,
    SchedContextUnbind = 35,
    SchedContextUnbindObject = 36,
    SchedContextConsumed = 37,
    SchedContextYieldTo = 38,
    PdptMap = 39,
    PdptUnmap = 40,
    PageDirectoryMap = 41,
    PageDirectoryUnmap = 42,
    PageTableMap = 43,
    PageTableUnmap = 44,
    PageMap = 45,
    PageUnmap = 46,
    PageGetAddress = 47,
    AsidControlMakePool = 48,
    AsidPoolAssign = 49,
    IoPortControlIssue = 50,
    IoPortIn8 = 51,
    IoPortIn16 = 52,
    IoPortIn32 = 53,
    IoPortOut8 = 54,
    IoPortOut16 = 55,
    IoPortOut32 = 56,
    IrqControlGetIoApic = 57,
    IrqControlGetMsi = 58,
}
