//! Any secret in any surroundings: afterwards it does not occur in plain, hex or base64.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_egress::Scrubber;

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|w| w == needle)
}

fuzz_target!(|input: (&str, Vec<u8>, Vec<u8>, bool)| {
    let (secret, before, after, hex) = input;
    if secret.len() < 4 {
        return;
    }
    let scrubber = Scrubber::new([secret].into_iter());
    let form: Vec<u8> = if hex {
        secret.bytes().flat_map(|b| format!("{b:02x}").into_bytes()).collect()
    } else {
        secret.as_bytes().to_vec()
    };
    let mut body = before.clone();
    body.extend_from_slice(&form);
    body.extend_from_slice(&after);
    assert!(scrubber.scrub(&mut body));
    // The mark itself must not form a secret together with its surroundings.
    assert!(!contains(&body, &form), "{secret:?} stays");
    assert!(!scrubber.is_in(&body), "{secret:?} stays in some form");
    let mut innocent = before;
    if !scrubber.is_in(&innocent) {
        let copy = innocent.clone();
        assert!(!scrubber.scrub(&mut innocent));
        assert_eq!(innocent, copy);
    }
});
