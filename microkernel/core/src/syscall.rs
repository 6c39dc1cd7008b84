//! System calls: the entry of every trap, and dispatch of invocations.
