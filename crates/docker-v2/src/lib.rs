//! The Docker Registry V2 surface.
