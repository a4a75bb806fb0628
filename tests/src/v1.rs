//! The protocol of docker before 1.6, from the client's side: images as those versions made them, a client that
//! does what they do, request by request, and a player of their recorded sessions. Independent of the server's own
//! code, checksums included.

pub mod client;
pub mod image;
pub mod session;
pub mod wire;

pub use client::{Push, V1Client, Version};
pub use image::{Chain, V1Image, unpack};
pub use wire::Wire;
