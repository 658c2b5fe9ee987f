//! The kinds of records, so that no two parts of a node use the same.
