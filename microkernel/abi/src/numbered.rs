//! Enumerations whose numbers are part of the interface, and the way back from a number.

/// Declares an enumeration with explicit numbers, a list of its values and conversions.
macro_rules! numbered {
    ($(#[$meta:meta])* pub enum $name:ident: $word:ty {
        $($(#[$doc:meta])* $value:ident = $number:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($word)]
        pub enum $name { $($(#[$doc])* $value = $number,)* }

        impl $name {
            /// Every value, as listed.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$value,)*];

            /// The value with this number, or `None`.
            pub const fn from_number(number: $word) -> Option<Self> {
                match number {
                    $($number => Some(Self::$value),)*
                    _ => None,
                }
            }

            /// Its number, as messages and registers carry it.
            pub const fn number(self) -> $word {
                self as $word
            }
        }
    };
}

pub(crate) use numbered;
