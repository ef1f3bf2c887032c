//! An instruction's data, read from the front: borsh, little-endian.

use pinocchio::{error::ProgramError, Address};

use crate::error::Fault;

pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(untrusted: &'a [u8]) -> Self {
        Self(untrusted)
    }

    #[inline(always)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ProgramError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Fault::BadData)?;
        self.0 = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, ProgramError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn boolean(&mut self) -> Result<u8, ProgramError> {
        match self.u8()? {
            value @ 0..=1 => Ok(value),
            _ => Err(Fault::BadData.into()),
        }
    }

    pub fn u16(&mut self) -> Result<u16, ProgramError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, ProgramError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, ProgramError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, ProgramError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub fn address(&mut self) -> Result<Address, ProgramError> {
        Ok(Address::new_from_array(self.array()?))
    }

    /// A string of at most `max` bytes, in UTF-8.
    pub fn text(&mut self, max: usize) -> Result<&'a [u8], ProgramError> {
        let length = self.u32()? as usize;
        if length > max || length > self.0.len() {
            return Err(Fault::BadData.into());
        }
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        core::str::from_utf8(head).map_err(|_| ProgramError::from(Fault::BadData))?;
        Ok(head)
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), ProgramError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::BadData.into())
        }
    }
}
