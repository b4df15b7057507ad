//! What the fuzz targets share: the bounded allocator, folders as bytes, and plugins.

pub mod allocator;
pub mod folder;
pub mod plugins;
