//! A machine's keys as a file lists them that OpenSSH reads too (`known_hosts`).
//!
//! Refuses what such a file revokes, and certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::PublicKey;

/// The port that names do not mention.
const PORT: u16 = 22;

/// What a file says of one machine.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) known: Vec<PublicKey>,
    pub(super) revoked: Vec<PublicKey>,
}

/// Reads the lines that are about a machine. Those that nobody can read list nothing.
pub(super) fn read(text: &str, host: &str, port: u16) -> Listed {
    let mut listed = Listed::default();
    let name = match port {
        PORT => host.to_ascii_lowercase(),
        port => format!("[{}]:{port}", host.to_ascii_lowercase()),
    };
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(hosts), Some(kind), Some(key)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if hosts.starts_with('#') || !fits(hosts, &name) {
            continue;
        }
        // A kind of key that is not known here cannot be shown to us either.
        let Ok(key) = PublicKey::from_openssh(&format!("{kind} {key}")) else {
            continue;
        };
        match marker {
            None => listed.known.push(key),
            Some("@revoked") => listed.revoked.push(key),
            Some(_) => {}
        }
    }
    listed
}

/// Whether a list of names and patterns means this name: one fits, and none that begins with `!` does.
fn fits(hosts: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in hosts.split(',') {
        if let Some(other) = pattern.strip_prefix('!') {
            if like(other.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else if let Some(hashed) = pattern.strip_prefix("|1|") {
            found |= is_hash(hashed, name);
        } else {
            found |= like(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
        }
    }
    found
}

/// `SALT|HASH`, both in base 64: a list that does not show whom it is about.
fn is_hash(hashed: &str, name: &str) -> bool {
    let decoded = |text: &str| STANDARD.decode(text).ok();
    let parts = hashed.split_once('|');
    let parts = parts.and_then(|(salt, hash)| decoded(salt).zip(decoded(hash)));
    parts.is_some_and(|(salt, hash)| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        hmac::verify(&key, name.as_bytes(), &hash).is_ok()
    })
}

/// `*` is any rest, `?` any one character.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => (0..=text.len()).any(|n| like(rest, &text[n..])),
        (Some((one, rest)), Some((same, left))) => {
            (*one == b'?' || one == same) && like(rest, left)
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, known: usize, revoked: usize) {
        let listed = read(text, host, port);
        let counted = (listed.known.len(), listed.revoked.len());
        assert_eq!(counted, (known, revoked), "{text}");
    }

    #[test]
    fn lines_are_about_whom_they_name() {
        check(&format!("a.example {ONE}"), "A.example", 22, 1, 0);
        check(&format!("a.example {ONE} who\n"), "a.example", 2222, 0, 0);
        check(
            &format!("b,[a.example]:2222\t{ONE}"),
            "a.example",
            2222,
            1,
            0,
        );
        check(&format!("#a.example {ONE}"), "a.example", 22, 0, 0);
        check(
            &format!("*.example,!b.example {ONE}"),
            "a.example",
            22,
            1,
            0,
        );
        check(
            &format!("*.example,!b.example {ONE}"),
            "b.example",
            22,
            0,
            0,
        );
        check(&format!("?.example {ONE}"), "ab.example", 22, 0, 0);
        check(
            "a.example ssh-odd AAAA\na.example\n\n",
            "a.example",
            22,
            0,
            0,
        );
        let hashed = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=";
        check(&format!("{hashed} {ONE}"), "example.com", 22, 1, 0);
        check(&format!("{hashed} {ONE}"), "example.org", 22, 0, 0);
        check(&format!("|1|x|y {ONE}"), "example.com", 22, 0, 0);
    }

    #[test]
    fn markers_take_keys_away_and_bring_none() {
        check(&format!("@revoked * {ONE}"), "a.example", 2222, 0, 1);
        check(&format!("@revoked b.example {ONE}"), "a.example", 22, 0, 0);
        check(&format!("@cert-authority * {ONE}"), "a.example", 22, 0, 0);
    }
}
