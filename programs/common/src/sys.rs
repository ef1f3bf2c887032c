//! What the chain itself knows: time, rent, derived addresses, the log.

use pinocchio::{error::ProgramError, Address};

extern "C" {
    fn sol_get_sysvar(id: *const u8, out: *mut u8, offset: u64, length: u64) -> u64;
    fn sol_get_clock_sysvar(out: *mut u8) -> u64;
    fn sol_create_program_address(
        seeds: *const u8,
        n: u64,
        program: *const u8,
        out: *mut u8,
    ) -> u64;
    fn sol_log_data(data: *const u8, n: u64);
    fn sol_sha256(slices: *const u8, n: u64, hash: *mut u8) -> u64;
    fn sol_set_return_data(data: *const u8, n: u64);
}

/// A slice as the chain's calls take it.
#[repr(C)]
struct Slice {
    start: *const u8,
    length: u64,
}

impl Slice {
    fn of(bytes: &[u8]) -> Self {
        Self {
            start: bytes.as_ptr(),
            length: bytes.len() as u64,
        }
    }
}

/// `SysvarRent111111111111111111111111111111111`
const RENT: [u8; 32] = [
    6, 167, 213, 23, 25, 44, 92, 81, 33, 140, 201, 76, 61, 74, 241, 127, 88, 218, 238, 8, 155, 161,
    253, 68, 227, 219, 217, 138, 0, 0, 0, 0,
];
const TWO: u64 = 0x4000_0000_0000_0000;
const ONE: u64 = 0x3ff0_0000_0000_0000;
const ACCOUNT_OVERHEAD_BYTES: u64 = 128;
const MAX_ACCOUNT_BYTES: u64 = 10 << 20;

/// The lamports that keep an account of so many bytes.
///
/// The sysvar has had two layouts: a price per byte and year with a factor of 2.0, and a price
/// per byte with 1.0. Both are bounded, so that the multiplication can't overflow.
pub fn rent(bytes: usize) -> Result<u64, ProgramError> {
    let mut sysvar = [0u64; 2];
    // SAFETY: 16 bytes are asked for, and there is room for 16.
    let failed = unsafe { sol_get_sysvar(RENT.as_ptr(), sysvar.as_mut_ptr().cast(), 0, 16) };
    let per_byte = match sysvar[1] {
        TWO => sysvar[0] << 1,
        ONE => sysvar[0],
        _ => return Err(ProgramError::UnsupportedSysvar),
    };
    let bytes = bytes as u64;
    if failed != 0 || per_byte > u64::from(u32::MAX) || bytes > MAX_ACCOUNT_BYTES {
        return Err(ProgramError::UnsupportedSysvar);
    }
    Ok(per_byte.wrapping_mul(bytes + ACCOUNT_OVERHEAD_BYTES))
}

/// The time, as this chain tells it.
#[derive(Clone, Copy, Default)]
pub struct Now {
    pub slot: u64,
    /// Unix time in seconds.
    pub time: i64,
}

pub fn now() -> Result<Now, ProgramError> {
    let mut sysvar = [0u64; 5];
    // SAFETY: the sysvar is five words: slot, epoch start, epoch, leader epoch, time.
    if unsafe { sol_get_clock_sysvar(sysvar.as_mut_ptr().cast()) } != 0 {
        return Err(ProgramError::UnsupportedSysvar);
    }
    Ok(Now {
        slot: sysvar[0],
        time: sysvar[4] as i64,
    })
}

/// Whether the seeds give an address of the program. 1,500 compute units.
pub fn derives(seeds: &[&[u8]], program: &Address) -> bool {
    let mut out = [0u8; 32];
    // SAFETY: a slice of slices is what the call takes: start and length of each.
    let failed = unsafe {
        sol_create_program_address(
            seeds.as_ptr().cast(),
            seeds.len() as u64,
            program.as_array().as_ptr(),
            out.as_mut_ptr(),
        )
    };
    failed == 0
}

/// The hash of three pieces as of one.
pub fn sha256(pieces: &[&[u8]; 3]) -> [u8; 32] {
    let slices = pieces.map(Slice::of);
    let mut hash = [0u8; 32];
    // SAFETY: three slices, alive, and room for a hash; with that the call can't fail.
    unsafe { sol_sha256(slices.as_ptr().cast(), 3, hash.as_mut_ptr()) };
    hash
}

/// Writes one `Program data:` line.
pub fn log_data(bytes: &[u8]) {
    let slice = Slice::of(bytes);
    // SAFETY: one slice, alive.
    unsafe { sol_log_data(core::ptr::from_ref(&slice).cast(), 1) }
}

/// What the caller of this program gets back.
pub fn return_data(bytes: &[u8]) {
    // SAFETY: the slice is alive.
    unsafe { sol_set_return_data(bytes.as_ptr(), bytes.len() as u64) }
}
