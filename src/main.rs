//! The program. Its command line comes last.

fn main() {}
