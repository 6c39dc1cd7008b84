//! What a D3OS program links: capabilities, typed calls, memory, the runtime.
#![no_std]
