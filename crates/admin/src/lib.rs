//! The administration surface.
