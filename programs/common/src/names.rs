//! Anchor's discriminators: the first eight bytes of a hash of a name.

use sha2_const_stable::Sha256;

const fn first(namespace: &[u8], name: &str) -> [u8; 8] {
    let hash = Sha256::new()
        .update(namespace)
        .update(name.as_bytes())
        .finalize();
    let mut out = [0; 8];
    let mut i = 0;
    while i < 8 {
        out[i] = hash[i];
        i += 1;
    }
    out
}

/// Each is a constant where it is used: at run time it would take some 8,000 compute units.
///
/// Of an instruction, by its `snake_name`.
pub const fn instruction(name: &str) -> [u8; 8] {
    first(b"global:", name)
}

/// Of an account, by its `Name`.
pub const fn account(name: &str) -> [u8; 8] {
    first(b"account:", name)
}

/// Of an event in the log, by its `Name`.
pub const fn event(name: &str) -> [u8; 8] {
    first(b"event:", name)
}
