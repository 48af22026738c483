//! Any bytes that a guest sends as a URL: every reader understands an accepted target in the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_core::host_pattern::is_host_name;
use portcullis_core::target::Target;

fuzz_target!(|raw: &[u8]| {
    let Ok(target) = Target::parse(raw, 8192) else { return };
    assert!(is_host_name(target.host()), "{target:?}");
    assert_eq!(target.host(), target.host().to_ascii_lowercase());
    assert!(target.port() != 0);
    assert!(target.path().starts_with('/'));
    assert!(target.origin_form().bytes().all(|b| (0x21..=0x7e).contains(&b)), "{target:?}");
    assert!(!target.origin_form().contains('#'));
    assert!(target.path().split('/').all(|s| s != "." && s != ".."), "{target:?}");
    let again = format!("{}{}", target.origin(), target.origin_form());
    assert_eq!(Target::parse(again.as_bytes(), 65_536).as_ref(), Ok(&target), "{again}");
});
