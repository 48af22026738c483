//! Hostile guests, encoded by hand: a component with a forbidden import, and handlers that trap, loop or
//! return invalid output.

use portcullis_connectors::HTTP_HANDLER;
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, decode, embed_component_metadata};

/// What a handler does when it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// Executes `unreachable`.
    Trap,
    /// Never returns.
    Loop,
    /// Succeeds with this text as its output.
    Output(&'static str),
    /// Fails with this code and message.
    Fail(&'static str, &'static str),
}

/// Addresses in the guest's memory: the result, its texts, and where it allocates.
const ANSWER: u32 = 16;
const TEXTS: u32 = 512;
const HEAP: u32 = 4096;

/// A component without imports and exports: the preamble only.
pub(crate) fn empty_component() -> Vec<u8> {
    b"\0asm\x0d\0\x01\0".to_vec()
}

/// A component that only imports an empty interface of that name.
pub(crate) fn importing(interface: &str) -> Vec<u8> {
    let mut bytes = empty_component();
    // One type: an instance type without declarations.
    section(&mut bytes, 7, &[1, 0x42, 0]);
    let mut import = vec![1, 0];
    import.extend(text(interface));
    // An instance of type 0.
    import.extend([5, 0]);
    section(&mut bytes, 10, &import);
    bytes
}

/// A component that exports the handler and imports nothing.
pub(crate) fn handler(manner: Manner) -> Vec<u8> {
    let mut module = core_module(manner);
    let DecodedWasm::Component(resolve, world) = decode(HTTP_HANDLER).unwrap() else {
        panic!("the built handler is not a component");
    };
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// The core module: `invoke` with its fourteen lowered parameters, an allocator that always returns the same
/// address, and four pages of memory.
fn core_module(manner: Manner) -> Vec<u8> {
    const I32: u8 = 0x7f;
    const I64: u8 = 0x7e;
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    // Five texts with two values each, the time, and the optional key with three.
    let mut types = vec![2, 0x60, 14];
    types.extend([I32; 10]);
    types.push(I64);
    types.extend([I32; 3]);
    types.extend([1, I32, 0x60, 4, I32, I32, I32, I32, 1, I32]);
    section(&mut bytes, 1, &types);
    section(&mut bytes, 3, &[2, 0, 1]);
    section(&mut bytes, 5, &[1, 0, 4]);
    let mut exports = vec![3];
    for (name, kind, index) in
        [("portcullis:connector/handler@0.1.0#invoke", 0, 0), ("cabi_realloc", 0, 1), ("memory", 2, 0)]
    {
        exports.extend(text(name));
        exports.extend([kind, index]);
    }
    section(&mut bytes, 7, &exports);
    let invoke = match manner {
        Manner::Trap => vec![0x00],
        // loop (result i32) br 0 end
        Manner::Loop => vec![0x03, I32, 0x0c, 0, 0x0b],
        Manner::Output(_) | Manner::Fail(..) => constant(ANSWER),
    };
    let mut code = vec![2];
    for body in [invoke, constant(HEAP)] {
        code.extend(leb(u32::try_from(body.len() + 2).unwrap()));
        code.push(0);
        code.extend(body);
        code.push(0x0b);
    }
    section(&mut bytes, 10, &code);
    let mut data = vec![2];
    let (answer, texts) = answer(manner);
    for (at, content) in [(ANSWER, answer), (TEXTS, texts)] {
        data.push(0);
        data.extend(constant(at));
        data.push(0x0b);
        data.extend(leb(u32::try_from(content.len()).unwrap()));
        data.extend(content);
    }
    section(&mut bytes, 11, &data);
    bytes
}

/// The lifted result in memory, and the texts it points to.
fn answer(manner: Manner) -> (Vec<u8>, Vec<u8>) {
    let (is_failure, texts) = match manner {
        Manner::Output(text) => (0_u64, vec![text]),
        Manner::Fail(code, message) => (1, vec![code, message]),
        Manner::Trap | Manner::Loop => (0, Vec::new()),
    };
    let mut answer = is_failure.to_le_bytes().to_vec();
    let mut at = TEXTS;
    for text in &texts {
        let length = u32::try_from(text.len()).unwrap();
        answer.extend(at.to_le_bytes());
        answer.extend(length.to_le_bytes());
        at += length;
    }
    (answer, texts.concat().into_bytes())
}

/// `i32.const`
fn constant(value: u32) -> Vec<u8> {
    let mut bytes = vec![0x41];
    // One more group of seven bits than an unsigned number needs, so that the sign bit stays clear.
    bytes.extend([
        u8::try_from(value & 0x7f).unwrap() | 0x80,
        u8::try_from((value >> 7) & 0x7f).unwrap() | 0x80,
        u8::try_from(value >> 14).unwrap(),
    ]);
    bytes
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn text(name: &str) -> Vec<u8> {
    let mut bytes = leb(u32::try_from(name.len()).unwrap());
    bytes.extend(name.as_bytes());
    bytes
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    bytes.extend(leb(u32::try_from(content.len()).unwrap()));
    bytes.extend(content);
}
