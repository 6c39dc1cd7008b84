//! The language's own types that may live in an object.

use core::marker::PhantomData;

use super::{Persist, Shape, Type};

macro_rules! numbers {
    ($($shape:ident: $($number:ident)+;)+) => { $($(
        // SAFETY: every bit pattern is a number, and all bytes are data.
        unsafe impl Persist for $number {
            const TYPE: Type = Type::new::<Self>(stringify!($number), Shape::$shape);
        }
    )+)+ };
}

numbers! {
    Unsigned: u8 u16 u32 u64 u128;
    Signed: i8 i16 i32 i64 i128;
    Float: f32 f64;
}

// SAFETY: elements follow each other without gaps, and nothing is added to them.
unsafe impl<T: Persist, const N: usize> Persist for [T; N] {
    const TYPE: Type = Type::new::<Self>("array", Shape::array::<T>(N));
}

// SAFETY: there are no bytes.
unsafe impl<T: Persist> Persist for PhantomData<T> {
    const TYPE: Type = Type::structure::<Self>("PhantomData", &[]);
}
