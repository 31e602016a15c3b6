//! Asks for a password on the terminal. Echo is switched off before the question is printed and always restored.

use std::io::{Read, Write, stderr, stdin};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Maximum length of an input line in bytes.
const MAX_BYTES: usize = 8 * 1024;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];

/// Restores the terminal's settings when dropped.
struct RestoreTerminal(Termios);

impl Drop for RestoreTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin().as_fd(), OptionalActions::Now, &self.0);
        let _ = writeln!(stderr());
    }
}

/// Asks for a password; `None` after Ctrl-C or Ctrl-D.
///
/// # Errors
/// Standard input is not a terminal, or reading it failed.
pub(crate) fn ask_password(question: &str) -> std::io::Result<Option<SecretString>> {
    let before = tcgetattr(stdin().as_fd())?;
    let mut silent = before.clone();
    // Without ISIG, Ctrl-C arrives as a byte. Its signal would end the program with echo still off.
    silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    let _restore = RestoreTerminal(before);
    tcsetattr(stdin().as_fd(), OptionalActions::Now, &silent)?;
    write!(stderr(), "{question}")?;
    stderr().flush()?;
    read_line(&mut stdin().lock())
}

fn read_line(input: &mut impl Read) -> std::io::Result<Option<SecretString>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut byte = [0];
    while input.read(&mut byte)? == 1 {
        match byte[0] {
            b'\r' | b'\n' => break,
            CTRL_C | CTRL_D => return Ok(None),
            CTRL_U => typed.clear(),
            b if BACKSPACE.contains(&b) => {
                // Removes a whole UTF-8 character: continuation bytes begin with the bits 10.
                while typed.pop().is_some_and(|b| b & 0xc0 == 0x80) {}
            }
            b if typed.len() < MAX_BYTES => typed.push(b),
            _ => return Err(std::io::Error::other("the input is too long")),
        }
    }
    let text = std::str::from_utf8(&typed).map_err(|_| std::io::Error::other("the input is not UTF-8"))?;
    Ok(Some(SecretString::from(text)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn typed(keys: &str) -> Option<String> {
        read_line(&mut keys.as_bytes()).unwrap().map(|s| s.expose_secret().to_owned())
    }

    #[test]
    fn a_password_line_can_be_edited_and_aborted() {
        assert_eq!(typed("geheim\n").unwrap(), "geheim");
        assert_eq!(typed("wrong\u{15}r\u{fc}x\u{7f}\u{7f}\u{fc}\r").unwrap(), "r\u{fc}");
        assert_eq!(typed("half\u{3}"), None);
        assert_eq!(typed("\u{8}a\n").unwrap(), "a");
        assert!(read_line(&mut "x".repeat(MAX_BYTES + 1).as_bytes()).is_err());
    }
}
