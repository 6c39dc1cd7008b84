//! What is described, named and printed; what does not compile is in `tests/refused`.

use core::marker::PhantomData;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, Persist, PartialEq)]
#[repr(C)]
struct Sample {
    seconds: u64,
    celsius: f32,
    delta: i16,
    name: [u8; 10],
    levels: [i32; 2],
}

const SAMPLE: Sample =
    Sample { seconds: 7, celsius: 21.5, delta: -3, name: *b"kitchen\0\0\0", levels: [1, -1] };

/// A pointer for these tests.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct To<T>(u64, PhantomData<T>);

// SAFETY: it is a number and a type; every bit pattern is one.
unsafe impl<T: Persist> Persist for To<T> {
    const TYPE: Type = Type::pointer::<Self, T>("To");
}

#[derive(Persist)]
#[repr(C)]
struct List<T> {
    next: To<Self>,
    other: To<Sample>,
    value: T,
}

#[derive(Persist)]
#[repr(transparent)]
struct Pair([u64; 2]);

#[derive(Persist)]
#[repr(C, align(64))]
struct Aligned {
    r#type: [u64; 8],
}

mod later {
    use super::{Persist, To};

    #[derive(Persist)]
    #[repr(C)]
    pub(super) struct List<T> {
        next: To<Self>,
        other: To<Sample>,
        value: T,
    }

    /// As the other, but that its last field was renamed.
    #[derive(Persist)]
    #[repr(C)]
    struct Sample {
        seconds: u64,
        celsius: f32,
        delta: i16,
        name: [u8; 10],
        degrees: [i32; 2],
    }
}

#[test]
fn values_are_bytes_and_back() {
    let bytes = bytes_of(&SAMPLE);
    assert_eq!(bytes.len(), 32);
    assert_eq!(bytes[..8], 7u64.to_le_bytes());
    assert_eq!(value_of::<Sample>(bytes), Some(SAMPLE));
    assert_eq!(value_at::<Sample>(bytes), Some(&SAMPLE));
}

#[test]
fn other_numbers_of_bytes_are_no_value() {
    let bytes = bytes_of(&SAMPLE);
    assert_eq!(value_of::<Sample>(&bytes[1..]), None);
    assert_eq!(value_at::<Sample>(&bytes[1..]), None);
    assert_eq!(value_of::<u64>(bytes), None);
}

#[test]
fn only_aligned_bytes_are_seen_in_place() {
    let words = [1u64, 2, 3];
    let bytes = bytes_of(&words);
    assert_eq!(value_at::<u64>(&bytes[8..16]), Some(&2));
    assert_eq!(value_at::<u64>(&bytes[4..12]), None);
    assert_eq!(value_of::<u64>(&bytes[4..12]), Some(2 << 32));
}

#[test]
fn fields_are_described_with_names_types_and_offsets() {
    let description = Description::of::<Sample>();
    let Kind::Structure(members) = &description.root().kind else { panic!("a structure") };
    let fields: Vec<_> = members
        .iter()
        .map(|member| {
            let ty = description.get(member.of);
            (&*member.name, member.at, &*ty.name, ty.bytes)
        })
        .collect();
    let expected = [
        ("seconds", 0, "u64", 8),
        ("celsius", 8, "f32", 4),
        ("delta", 12, "i16", 2),
        ("name", 14, "array", 10),
        ("levels", 24, "array", 8),
    ];
    assert_eq!(fields, expected);
    assert_eq!(description.root().name, "Sample");
}

#[test]
fn recursive_types_have_finite_descriptions() {
    let description = Description::of::<List<u64>>();
    let Kind::Structure(members) = &description.root().kind else { panic!("a structure") };
    let Kind::Pointer { to } = description.get(members[0].of).kind else { panic!("a pointer") };
    assert_eq!(description.get(to), description.root());
    let Kind::Pointer { to } = description.get(members[1].of).kind else { panic!("a pointer") };
    assert_eq!(description.get(to).name, "Sample");
}

/// If one of these changes, every object that exists has become one of an unknown type. They were
/// worked out from the documented encoding by a second, independent program.
#[test]
fn fingerprints_stay() {
    assert_eq!(Fingerprint::of::<u64>().to_string(), "4ea7eec44ba31630");
    assert_eq!(Fingerprint::of::<Sample>().to_string(), "b49db9efb235eeec");
    assert_eq!(Fingerprint::of::<List<u64>>().to_string(), "ad8972d6f468288e");
}

#[test]
fn fingerprints_differ_where_types_do() {
    let mut all = [
        Fingerprint::of::<u32>(),
        Fingerprint::of::<i32>(),
        Fingerprint::of::<f32>(),
        Fingerprint::of::<[u32; 1]>(),
        Fingerprint::of::<[u8; 4]>(),
        Fingerprint::of::<Pair>(),
        Fingerprint::of::<[u64; 2]>(),
        Fingerprint::of::<Aligned>(),
        Fingerprint::of::<List<u64>>(),
        Fingerprint::of::<List<i64>>(),
    ];
    all.sort_unstable();
    assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
}

#[test]
fn a_type_is_told_in_a_line() {
    let sample = "Sample { seconds: u64 @0, celsius: f32 @8, delta: i16 @12, name: [u8; 10] @14, \
                  levels: [i32; 2] @24 }";
    assert_eq!(Description::of::<Sample>().to_string(), sample);
    let list = "List { next: To<List> @0, other: To<Sample> @8, value: [[u16; 2]; 2] @16 }";
    assert_eq!(Description::of::<List<[[u16; 2]; 2]>>().to_string(), list);
    assert_eq!(Description::of::<[u64; 3]>().to_string(), "[u64; 3]");
}

#[test]
fn a_change_behind_a_pointer_is_a_change() {
    assert_ne!(Fingerprint::of::<List<u64>>(), Fingerprint::of::<later::List<u64>>());
}

#[test]
fn values_are_printed_by_description_alone() {
    let kept = Description::of::<Sample>().encode();
    let description = Description::decode(&kept).unwrap();
    let shown = format!("{:?}", description.show(bytes_of(&SAMPLE)).unwrap());
    let expected =
        "Sample { seconds: 7, celsius: 21.5, delta: -3, name: \"kitchen\", levels: [1, -1] }";
    assert_eq!(shown, expected);
    assert!(description.show(&[0; 31]).is_none());
}

#[test]
fn pointers_are_printed_with_what_they_lead_to() {
    let list = List { next: To(0, PhantomData), other: To(0x40, PhantomData), value: Pair([1, 2]) };
    let description = Description::of::<List<Pair>>();
    let shown = format!("{:?}", description.show(bytes_of(&list)).unwrap());
    let expected = "List { next: null, other: 0x40 → Sample, value: Pair { 0: [1, 2] } }";
    assert_eq!(shown, expected);
}

#[test]
fn numbers_of_every_width_are_printed() {
    #[derive(Persist)]
    #[repr(C)]
    struct Numbers {
        large: [u128; 1],
        small: [i128; 2],
        double: f64,
        byte: i8,
        rest: [u8; 7],
    }
    let numbers = Numbers {
        large: [u128::MAX],
        small: [i128::MIN, -1],
        double: -0.5,
        byte: i8::MIN,
        rest: *b"\x00\"a\xff\0\0\0",
    };
    let description = Description::of::<Numbers>();
    let expected = format!(
        "Numbers {{ large: [{}], small: [{}, -1], double: -0.5, byte: -128, rest: {} }}",
        u128::MAX,
        i128::MIN,
        r#""\x00\"a\xff""#
    );
    assert_eq!(format!("{:?}", description.show(bytes_of(&numbers)).unwrap()), expected);
}

#[test]
fn long_arrays_are_cut() {
    let description = Description::of::<[u16; 100]>();
    let shown = format!("{:?}", description.show(&[0; 200]).unwrap());
    assert!(shown.ends_with("0, 0, ..]"), "{shown}");
}

#[test]
fn descriptions_that_cannot_be_are_refused() {
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut bytes = Description::of::<[u16; 100]>().encode();
        change(&mut bytes);
        Description::decode(&bytes).unwrap_err()
    };
    assert_eq!(refused(|bytes| bytes.push(0)), DescriptionError::Malformed);
    assert_eq!(refused(Vec::clear), DescriptionError::Malformed);
    assert_eq!(refused(|bytes| bytes[0] = 2), DescriptionError::Malformed);
    // The last bytes are the array's alignment, shape, element and length.
    assert_eq!(refused(|bytes| *bytes.last_mut().unwrap() = 99), DescriptionError::Size(1));
    let own = |bytes: &mut Vec<u8>| *bytes.iter_mut().nth_back(1).unwrap() = 1;
    assert_eq!(refused(own), DescriptionError::Reference(1));
}

proptest! {
    /// Whatever is kept where a description should be: it is refused, or it prints whatever bytes
    /// there are of the type without a panic.
    #[test]
    fn foreign_descriptions_do_no_harm(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        value in any::<u8>(),
    ) {
        let mut bytes = Description::of::<List<Sample>>().encode();
        for (at, with) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        bytes.truncate(if whole { bytes.len() } else { cut.index(bytes.len()) });
        if let Ok(description) = Description::decode(&bytes)
            && let Ok(size @ ..65_536) = usize::try_from(description.root().bytes)
        {
            let value = alloc::vec![value; size];
            let shown = format!("{:?}", description.show(&value).unwrap());
            prop_assert!(!shown.is_empty());
            prop_assert_eq!(Description::decode(&description.encode()), Ok(description));
        }
    }

    #[test]
    fn noise_is_no_description_that_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(description) = Description::decode(&bytes) {
            prop_assert_eq!(Description::decode(&description.encode()), Ok(description));
        }
    }

    #[test]
    fn every_bit_pattern_is_a_value(bytes in any::<[u8; 32]>()) {
        let value: Sample = value_of(&bytes).unwrap();
        prop_assert_eq!(bytes_of(&value), &bytes);
    }
}
