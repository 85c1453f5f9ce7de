//! The letters of share codes and of their secrets.

/// Letters and digits that are not mistaken for each other: no i, l, o, 0 or 1.
pub const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// A letter for each random byte, every one equally likely: bytes that would favour some letters are thrown away.
pub fn fair(bytes: impl IntoIterator<Item = u8>) -> impl Iterator<Item = char> {
    const FAIR: u8 = u8::MAX - u8::MAX % ALPHABET.len() as u8;
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    bytes.into_iter().filter(|byte| *byte < FAIR).map(letter)
}
