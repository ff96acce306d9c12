//! Divergences against narratives and against simulated histories of a true world.

mod narrative;
mod random;
mod scene;
