//! A node and its site, over links and flash that fail.
