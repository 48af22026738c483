//! Components with something wrong in their bytes, made here: what admission has to refuse or survive. What a guest
//! does once it runs is `tests/guests`. Each function says how its component has to end.

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, DataSegment, DataSegmentMode, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, Instruction, MemorySection, MemoryType, RefType, StartSection,
    TableSection, TableType, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, decode, embed_component_metadata};

const WIT: &str = include_str!("../../../wit/connector.wit");
const INVOKE: &str = "portcullis:connector/handler@0.1.0#invoke";
const PAGE_BYTES: u64 = 65_536;
/// Where the handlers here answer, and where they allocate.
const ANSWER: i32 = 16;
const HEAP: i32 = 4096;
/// The section of a component that is a core module.
const CORE_MODULE: u8 = 1;

/// Interfaces that no module of the profile `pure` may import. Ends: `import_forbidden`, with the flag that mends it.
pub(crate) const FORBIDDEN: &[&str] = &[
    "wasi:cli/environment@0.2.6",
    "wasi:cli/exit@0.2.6",
    "wasi:cli/stdin@0.2.6",
    "wasi:cli/stdout@0.2.6",
    "wasi:clocks/monotonic-clock@0.2.6",
    "wasi:clocks/wall-clock@0.2.6",
    "wasi:filesystem/preopens@0.2.6",
    "wasi:filesystem/types@0.2.6",
    "wasi:http/outgoing-handler@0.2.6",
    "wasi:io/poll@0.2.6",
    "wasi:io/streams@0.2.6",
    "wasi:random/random@0.2.6",
    "wasi:sockets/instance-network@0.2.6",
    "wasi:sockets/ip-name-lookup@0.2.6",
    "wasi:sockets/tcp@0.2.6",
    "wasi:sockets/udp@0.2.6",
    "portcullis:vault/secrets@0.1.0",
    "example:host/anything@1.0.0",
];

/// A handler whose code is well, but for what a test changes.
pub(crate) struct Core {
    /// An import of the core module: interface and function, without parameters and results.
    import: Option<String>,
    memory_pages: u64,
    table: Option<TableType>,
    start: Option<Vec<Instruction<'static>>>,
    invoke: Vec<Instruction<'static>>,
    realloc: Vec<Instruction<'static>>,
    post_return: Vec<Instruction<'static>>,
    data: Vec<(i32, Vec<u8>)>,
    /// Further functions without parameters and results.
    more: Vec<Function>,
    /// How its texts lie in its memory.
    encoding: StringEncoding,
    /// A kind of memory that is not supported.
    memory64: bool,
    shared: bool,
}

impl Default for Core {
    fn default() -> Self {
        Self {
            import: None,
            memory_pages: 4,
            table: None,
            start: None,
            invoke: vec![Instruction::I32Const(ANSWER)],
            realloc: vec![Instruction::I32Const(HEAP)],
            post_return: Vec::new(),
            data: Vec::new(),
            more: Vec::new(),
            encoding: StringEncoding::UTF8,
            memory64: false,
            shared: false,
        }
    }
}

/// A handler that answers `{"output":null}`. Ends: admitted, and its call succeeds; the counterpart of all the others.
pub(crate) fn good() -> Vec<u8> {
    answering(br#"{"output":null}"#, None).component()
}

/// A handler with one more import than it may have. Ends: `import_forbidden`.
pub(crate) fn importing(interface: &str) -> Vec<u8> {
    Core { import: Some(interface.to_owned()), ..answering(br#"{"output":null}"#, None) }.component()
}

/// Where a component traps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// While it is instantiated. Ends: admitted; each call `guest_trapped`.
    Start,
    /// While the host writes the call into it. Ends: `guest_trapped`.
    Realloc,
    /// Called. Ends: `guest_trapped`.
    Invoke,
    /// When its answer was read. Ends: `guest_trapped`, or the answer; never the host.
    PostReturn,
}

/// A handler that executes `unreachable` there.
pub(crate) fn trapping(place: Place) -> Vec<u8> {
    running(place, vec![Instruction::Unreachable])
}

/// A handler that never returns from there. Ends: `guest_timeout`, wherever it is; instantiation has a deadline too.
pub(crate) fn looping(place: Place) -> Vec<u8> {
    use wasm_encoder::BlockType::Empty;
    let forever = [Instruction::Loop(Empty), Instruction::Br(0), Instruction::End, Instruction::Unreachable];
    running(place, forever.to_vec())
}

fn running(place: Place, code: Vec<Instruction<'static>>) -> Vec<u8> {
    let mut core = answering(br#"{"output":null}"#, None);
    match place {
        Place::Start => core.start = Some(code),
        Place::Realloc => core.realloc = code,
        Place::Invoke => core.invoke = code,
        Place::PostReturn => core.post_return = code,
    }
    core.component()
}

/// An answer of these bytes, whose length it claims to be `length`.
///
/// Bytes that are no UTF-8: `guest_trapped` or `guest_output_invalid`. A length beyond its memory (`u32::MAX`): the
/// same, and the host allocates nothing of that size.
pub(crate) fn answer(bytes: &[u8], length: u32) -> Vec<u8> {
    answering(bytes, Some(length)).component()
}

/// An answer in UTF-16, or in Latin-1 that is marked as UTF-16 where it has to be (RUSTSEC-2026-0091, 0092, 0093, 0085).
/// `units` of it are claimed; whole ones `succeeded`, a lone surrogate, an odd place or a length beyond its memory
/// `guest_trapped`.
pub(crate) fn wide_answer(units: &[u16], length: u32, place: u32, compact: bool) -> Vec<u8> {
    const UTF16_TAG: u32 = 1 << 31;
    let mut answer = 0_u64.to_le_bytes().to_vec();
    answer.extend(place.to_le_bytes());
    answer.extend((if compact { length | UTF16_TAG } else { length }).to_le_bytes());
    let text: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let encoding = if compact { StringEncoding::CompactUTF16 } else { StringEncoding::UTF16 };
    let data = vec![(ANSWER, answer), (i32::try_from(place).unwrap(), text)];
    Core { data, encoding, ..Core::default() }.component()
}

/// A component around a memory that threads share, or one of 64 bits (RUSTSEC-2025-0118). Ends: `compile_failed`, with
/// what it uses.
pub(crate) fn unsupported_memory(shared: bool) -> Vec<u8> {
    let module = Core { shared, memory64: !shared, ..answering(br#"{"output":null}"#, None) }.module();
    let mut component = wasm_encoder::Component::new();
    component.section(&wasm_encoder::RawSection { id: CORE_MODULE, data: &module });
    component.finish()
}

/// An answer that is neither of the two cases of a `result`. Ends: `guest_trapped`.
pub(crate) fn impossible_case() -> Vec<u8> {
    Core { data: vec![(ANSWER, vec![7; 16])], ..Core::default() }.component()
}

/// An allocator that always answers this address: outside of its memory (-16) `guest_trapped`; an odd one, where texts
/// overlap, the answer or `guest_trapped`.
pub(crate) fn lying_allocator(address: i32) -> Vec<u8> {
    Core { realloc: vec![Instruction::I32Const(address)], ..answering(br#"{"output":null}"#, None) }
        .component()
}

/// A memory of so many pages from the start. Ends: `memory_too_large` above the limit; nothing is reserved before.
pub(crate) fn memory_of(pages: u64) -> Vec<u8> {
    Core { memory_pages: pages, ..answering(br#"{"output":null}"#, None) }.component()
}

/// A table of so many elements from the start: `u32::MAX` (`table_too_large`), 2^40 with 64-bit indices
/// (RUSTSEC-2026-0114: `table_too_large` or `compile_failed`; no panic, no allocation).
pub(crate) fn table_of(elements: u64) -> Vec<u8> {
    let table = TableType {
        element_type: RefType::FUNCREF,
        table64: u32::try_from(elements).is_err(),
        minimum: elements,
        maximum: None,
        shared: false,
    };
    Core { table: Some(table), ..answering(br#"{"output":null}"#, None) }.component()
}

/// Grows its table without end, 10,000 elements at a time. Ends: `guest_trapped` when the limit refuses, because it
/// then executes `unreachable`.
pub(crate) fn table_bomb() -> Vec<u8> {
    use wasm_encoder::BlockType::Empty;
    let table = TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: None,
        shared: false,
    };
    let invoke = vec![
        Instruction::Loop(Empty),
        Instruction::RefNull(wasm_encoder::HeapType::FUNC),
        Instruction::I32Const(10_000),
        Instruction::TableGrow(0),
        Instruction::I32Const(-1),
        Instruction::I32Ne,
        Instruction::BrIf(0),
        Instruction::End,
        Instruction::Unreachable,
    ];
    Core { table: Some(table), invoke, ..Core::default() }.component()
}

/// So many data segments of so many bytes each, all at the same address. Ends: `too_large`, `compile_failed`, or
/// admitted within the limits of compilation; a call is no slower than its bytes.
pub(crate) fn data_bomb(segments: usize, bytes: usize) -> Vec<u8> {
    let segment = (HEAP, vec![0x5a; bytes]);
    let mut core = answering(br#"{"output":null}"#, None);
    core.memory_pages = (HEAP as u64 + bytes as u64).div_ceil(PAGE_BYTES).max(4);
    core.data.extend(std::iter::repeat_n(segment, segments));
    core.component()
}

/// One function whose body is so many nested blocks and additions over many locals. Ends: admitted if it compiles in
/// time, else `compile_timeout`, and the next upload is compiled as usual.
pub(crate) fn huge_function(instructions: usize) -> Vec<u8> {
    use wasm_encoder::BlockType::Empty;
    const LOCALS: u32 = 4_000;
    let mut body = Function::new([(LOCALS, ValType::I64)]);
    for index in 0..u32::try_from(instructions).unwrap() {
        let (from, to) = (index.wrapping_mul(7919) % LOCALS, index.wrapping_mul(104_729) % LOCALS);
        body.instruction(&Instruction::LocalGet(from));
        body.instruction(&Instruction::I64Eqz);
        body.instruction(&Instruction::If(Empty));
        body.instruction(&Instruction::LocalGet(to));
        body.instruction(&Instruction::LocalGet(from));
        body.instruction(&Instruction::I64Mul);
        body.instruction(&Instruction::LocalSet(to));
        body.instruction(&Instruction::End);
    }
    body.instruction(&Instruction::End);
    Core { more: vec![body], ..answering(br#"{"output":null}"#, None) }.component()
}

/// So many functions that do nothing. Ends: as `huge_function`.
pub(crate) fn many_functions(count: usize) -> Vec<u8> {
    let mut body = Function::new([]);
    body.instruction(&Instruction::End);
    Core { more: vec![body; count], ..answering(br#"{"output":null}"#, None) }.component()
}

/// A core module in the place of a component. Ends: `not_a_component`, with `portcullis module pack` as its mend.
pub(crate) fn core_module() -> Vec<u8> {
    answering(br#"{"output":null}"#, None).module()
}

/// A component without the handler. Ends: `no_handler`.
pub(crate) fn empty_component() -> Vec<u8> {
    b"\0asm\x0d\0\x01\0".to_vec()
}

/// A component of another version of the interface. Ends: `world_version`.
pub(crate) fn other_version() -> Vec<u8> {
    let wit = WIT.replace("connector@0.1.0", "connector@0.2.0");
    let core = answering(br#"{"output":null}"#, None);
    encode(
        core.module_as(&INVOKE.replace("0.1.0", "0.2.0")),
        &[&wit],
        "portcullis:connector/module@0.2.0",
        StringEncoding::UTF8,
    )
}

/// A component cut off after each of so many lengths. Ends: `not_a_component` or `compile_failed`; no panic.
pub(crate) fn truncated(bytes: &[u8], pieces: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..pieces).map(move |piece| bytes[..bytes.len() * piece / pieces].to_vec())
}

/// A component with one bit changed, so many times in other places. Ends: refused, or admitted and then its calls end
/// in some regular way; no panic, no crash of the compiler's process that the parent does not report.
pub(crate) fn flipped(bytes: &[u8], times: usize) -> impl Iterator<Item = Vec<u8>> {
    // Why not random: a test that fails has to fail again.
    (0..times).map(move |time| {
        let mut changed = bytes.to_vec();
        let bit = time.wrapping_mul(2_654_435_761) % (bytes.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

/// A handler that answers these bytes, with a length of its own choice.
fn answering(bytes: &[u8], length: Option<u32>) -> Core {
    let text = 512_u32;
    let length = length.unwrap_or_else(|| u32::try_from(bytes.len()).unwrap());
    let mut answer = 0_u64.to_le_bytes().to_vec();
    answer.extend(text.to_le_bytes());
    answer.extend(length.to_le_bytes());
    Core { data: vec![(ANSWER, answer), (512, bytes.to_vec())], ..Core::default() }
}

impl Core {
    fn component(self) -> Vec<u8> {
        let (import, encoding) = (self.import.clone(), self.encoding);
        let module = self.module();
        let Some(import) = import else {
            return encode(module, &[WIT], "portcullis:connector/module@0.1.0", encoding);
        };
        let (package, interface) = import.split_once('/').unwrap();
        let (interface, version) = interface.split_once('@').unwrap();
        let theirs = format!("package {package}@{version};\ninterface {interface} {{ f: func(); }}\n");
        let world = format!(
            "package test:guest;\nworld guest {{ import {import}; export portcullis:connector/handler@0.1.0; }}\n"
        );
        encode(module, &[WIT, &theirs, &world], "test:guest/guest", encoding)
    }

    fn module(self) -> Vec<u8> {
        self.module_as(INVOKE)
    }

    fn module_as(self, invoke: &str) -> Vec<u8> {
        let imports = u32::from(self.import.is_some());
        let mut module = wasm_encoder::Module::new();
        module.section(&types());
        if let Some(interface) = &self.import {
            let mut section = ImportSection::new();
            section.import(interface, "f", EntityType::Function(2));
            module.section(&section);
        }
        let mut functions = FunctionSection::new();
        // Invoke, realloc, post-return, start, and the rest.
        for kind in [0, 1, 3, 2] {
            functions.function(kind);
        }
        for _ in &self.more {
            functions.function(2);
        }
        module.section(&functions);
        if let Some(table) = self.table {
            let mut tables = TableSection::new();
            tables.table(table);
            module.section(&tables);
        }
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: self.memory_pages,
            maximum: self.shared.then_some(self.memory_pages),
            memory64: self.memory64,
            shared: self.shared,
            page_size_log2: None,
        });
        module.section(&memories);
        let mut exports = ExportSection::new();
        exports.export(invoke, ExportKind::Func, imports);
        exports.export("cabi_realloc", ExportKind::Func, imports + 1);
        exports.export(&format!("cabi_post_{invoke}"), ExportKind::Func, imports + 2);
        exports.export("memory", ExportKind::Memory, 0);
        module.section(&exports);
        if self.start.is_some() {
            module.section(&StartSection { function_index: imports + 3 });
        }
        module.section(&code(
            &[self.invoke, self.realloc, self.post_return, self.start.unwrap_or_default()],
            &self.more,
        ));
        module.section(&data(&self.data));
        module.finish()
    }
}

/// Invoke with its lowered parameters, realloc, a function of nothing, post-return.
fn types() -> TypeSection {
    let mut types = TypeSection::new();
    // Five texts with two values each, the time, and the optional key with three.
    let mut lowered = vec![ValType::I32; 10];
    lowered.push(ValType::I64);
    lowered.extend([ValType::I32; 3]);
    types.ty().function(lowered, [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], []);
    types.ty().function([ValType::I32], []);
    types
}

fn code(bodies: &[Vec<Instruction<'static>>], more: &[Function]) -> CodeSection {
    let mut section = CodeSection::new();
    for body in bodies {
        let mut function = Function::new([]);
        for instruction in body {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        section.function(&function);
    }
    for function in more {
        section.function(function);
    }
    section
}

fn data(segments: &[(i32, Vec<u8>)]) -> DataSection {
    let mut section = DataSection::new();
    for (at, bytes) in segments {
        let offset = &ConstExpr::i32_const(*at);
        let mode = DataSegmentMode::Active { memory_index: 0, offset };
        section.segment(DataSegment { mode, data: bytes.iter().copied() });
    }
    section
}

/// Encodes a core module as a component of a world. Not validated: some are wrong on purpose.
fn encode(mut module: Vec<u8>, packages: &[&str], world: &str, encoding: StringEncoding) -> Vec<u8> {
    let DecodedWasm::Component(mut resolve, _) = decode(&empty_component()).unwrap() else {
        panic!("an empty component is a component");
    };
    let mut last = None;
    for (index, package) in packages.iter().enumerate() {
        last = Some(resolve.push_source(&format!("{index}.wit"), package).unwrap());
    }
    let world = resolve.select_world(&[last.unwrap()], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}
