//! Deletion and revocation: finalising objects, zombies, preemption.
