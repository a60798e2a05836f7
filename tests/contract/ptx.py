"""PTX, what NVRTC made of a kernel, as C: a kernel is so executed on a CPU after NVRTC compiled it.

`translated` gives C for each `.entry NAME`: `void NAME(const uint64_t *args)` executes one thread, with the i-th
parameter in args[i]. It reads the thread's coordinates from `threadIdx`, `blockIdx`, `blockDim` and `gridDim`, and
calls `__syncthreads` at a barrier; whoever launches it defines these. The memory of `__shared__` is static: one block
at a time. An instruction is a row of `INSTRUCTIONS`; one that has none is refused by name.

What it does not show: what ptxas and the hardware make of the PTX. Without FMA contraction (`--fmad=false`) PTX fixes
every bit but those of the approximations (rcp, rsqrt, ex2 .approx): a C variable `int ptx_seed_units` moves them, so
that a test can see whether anything depends on them.
"""

import itertools
import re
from pathlib import Path

from attrs import define, field

PRELUDE = Path(__file__).with_name("ptx.h").read_text()


class UnknownPTX(ValueError):
    """A statement that is not known, and where it stands."""


# What instructions do

F = "{f32,f64}"
S = "{s16,s32,s64}"
U = "{u16,u32,u64}"
INT = "{s16,u16,s32,u32,s64,u64}"
NARROW = "{s16,u16,s32,u32}"
WORD = "{s32,u32,s64,u64}"
BYTE = "{s8,u8,s16,u16,s32,u32,s64,u64}"
B = "{b16,b32,b64}"
ANY = "{b16,b32,b64,s16,u16,s32,u32,s64,u64,f32,f64}"

WHOLE = {"rni": "__builtin_rint(a)", "rzi": "__builtin_trunc(a)", "rmi": "__builtin_floor(a)", "rpi": "__builtin_ceil(a)"}
ORDERED = {"eq": "a == b", "ne": "a < b || a > b", "lt": "a < b", "le": "a <= b", "gt": "a > b", "ge": "a >= b", "num": "a == a && b == b"}
UNORDERED = {
    "equ": "!(a < b || a > b)",
    "neu": "a != b",
    "ltu": "!(a >= b)",
    "leu": "!(a > b)",
    "gtu": "!(a <= b)",
    "geu": "!(a < b)",
    "nan": "a != a || b != b",
}
COMPARISONS = [
    *((name, F, meaning) for name, meaning in (ORDERED | UNORDERED).items()),
    *((name, f"{B[:-1]},{INT[1:]}", meaning) for name, meaning in {"eq": "a == b", "ne": "a != b"}.items()),
    *((name, INT, meaning) for name, meaning in {"lt": "a < b", "le": "a <= b", "gt": "a > b", "ge": "a >= b"}.items()),
    *((name, U, meaning) for name, meaning in {"lo": "a < b", "ls": "a <= b", "hi": "a > b", "hs": "a >= b"}.items()),
]

# Opcodes, what is read as what, and the result in C, of operands a, b, c, d. {x,y} stands for both. Types: t the last
# of the opcode, r the first; u and w that width unsigned and twice that width; n u32, p a predicate. Integers wrap.
# Directed rounding (.rz .rm .rp) of a row with .rn, and .ftz of single precision, need no row of their own.
INSTRUCTIONS = [
    (f"mov.{{pred,{ANY[1:]}", "t=t", "a"),
    (f"selp.{ANY}", "t=ttp", "c ? a : b"),
    *((f"setp.{name}.{types}", "p=tt", meaning) for name, types, meaning in COMPARISONS),
    *((f"setp.{name}.and.{types}", "p=ttp", f"({meaning}) && c") for name, types, meaning in COMPARISONS),
    *((f"setp.{name}.or.{types}", "p=ttp", f"({meaning}) || c") for name, types, meaning in COMPARISONS),
    *((f"setp.{name}.xor.{types}", "p=ttp", f"({meaning}) != c") for name, types, meaning in COMPARISONS),
    # addresses
    ("cvta.{,to.}{global,const,local,param}.u64", "t=t", "a"),
    ("cvta.shared.u64", "t=t", "a + (b64)ptx_shared"),
    ("cvta.to.shared.u64", "t=t", "a - (b64)ptx_shared"),
    # floating point
    (f"add.rn.{F}", "t=tt", "a + b"),
    (f"sub.rn.{F}", "t=tt", "a - b"),
    (f"mul.rn.{F}", "t=tt", "a * b"),
    (f"div.rn.{F}", "t=tt", "a / b"),
    ("fma.rn.f32", "t=ttt", "__builtin_fmaf(a, b, c)"),
    ("fma.rn.f64", "t=ttt", "__builtin_fma(a, b, c)"),
    (f"rcp.rn.{F}", "t=t", "1 / a"),
    ("sqrt.rn.f32", "t=t", "__builtin_sqrtf(a)"),
    ("sqrt.rn.f64", "t=t", "__builtin_sqrt(a)"),
    (f"neg.{F}", "t=t", "-a"),
    (f"abs.{F}", "t=t", "__builtin_fabs(a)"),
    (f"copysign.{F}", "t=tt", "__builtin_copysign(b, a)"),
    (f"min.{F}", "t=tt", "MINIMUM(a, b)"),
    (f"max.{F}", "t=tt", "MAXIMUM(a, b)"),
    ("rcp.approx.ftz.f64", "t=t", "ptx_seed(1 / ptx_flushed_f64(ptx_upper(a)))"),
    ("rsqrt.approx.ftz.f64", "t=t", "ptx_seed(1 / __builtin_sqrt(ptx_flushed_f64(ptx_upper(a))))"),
    ("ex2.approx.ftz.f32", "t=t", "ptx_power_of_two(a)"),
    # integers
    (f"add.{INT}", "t=tt", "(b64)a + (b64)b"),
    (f"sub.{INT}", "t=tt", "(b64)a - (b64)b"),
    (f"mul.lo.{INT}", "t=tt", "(b64)a * (b64)b"),
    (f"mul.hi.{INT}", "t=tt", "(w)a * b >> BITS(t)"),
    (f"mul.wide.{NARROW}", "w=tt", "(w)a * b"),
    (f"mad.lo.{INT}", "t=ttt", "(b64)a * (b64)b + (b64)c"),
    (f"mad.hi.{INT}", "t=ttt", "(b64)((w)a * b >> BITS(t)) + (b64)c"),
    (f"mad.wide.{NARROW}", "w=ttw", "(b64)((w)a * b) + (b64)c"),
    (f"sad.{INT}", "t=ttt", "(b64)c + (a < b ? (b64)b - (b64)a : (b64)a - (b64)b)"),
    (f"div.{INT}", "t=tt", "(w)a / b"),
    (f"rem.{INT}", "t=tt", "(w)a % b"),
    (f"neg.{S}", "t=t", "-(b64)a"),
    (f"abs.{S}", "t=t", "a < 0 ? -(b64)a : (b64)a"),
    (f"min.{INT}", "t=tt", "a < b ? a : b"),
    (f"max.{INT}", "t=tt", "a > b ? a : b"),
    # carry and borrow
    (f"add.cc.{WORD}", "t=tt", "CARRY(u, (u128)(u)a + (u)b)"),
    (f"addc.cc.{WORD}", "t=tt", "CARRY(u, (u128)(u)a + (u)b + ptx_carry)"),
    (f"addc.{WORD}", "t=tt", "(b64)a + (b64)b + ptx_carry"),
    (f"sub.cc.{WORD}", "t=tt", "CARRY(u, (u128)(u)a - (u)b)"),
    (f"subc.cc.{WORD}", "t=tt", "CARRY(u, (u128)(u)a - (u)b - ptx_carry)"),
    (f"subc.{WORD}", "t=tt", "(b64)a - (b64)b - ptx_carry"),
    (f"mad.lo.cc.{WORD}", "t=ttt", "CARRY(u, (u128)(u)((b64)a * (b64)b) + (u)c)"),
    (f"madc.lo.cc.{WORD}", "t=ttt", "CARRY(u, (u128)(u)((b64)a * (b64)b) + (u)c + ptx_carry)"),
    (f"madc.lo.{WORD}", "t=ttt", "(b64)a * (b64)b + (b64)c + ptx_carry"),
    (f"mad.hi.cc.{WORD}", "t=ttt", "CARRY(u, (u128)(u)((w)a * b >> BITS(t)) + (u)c)"),
    (f"madc.hi.cc.{WORD}", "t=ttt", "CARRY(u, (u128)(u)((w)a * b >> BITS(t)) + (u)c + ptx_carry)"),
    (f"madc.hi.{WORD}", "t=ttt", "(b64)((w)a * b >> BITS(t)) + (b64)c + ptx_carry"),
    # bits
    (f"and.{{pred,{B[1:]}", "t=tt", "a & b"),
    (f"or.{{pred,{B[1:]}", "t=tt", "a | b"),
    (f"xor.{{pred,{B[1:]}", "t=tt", "a ^ b"),
    (f"not.{B}", "t=t", "~a"),
    ("not.pred", "t=t", "!a"),
    (f"shl.{B}", "t=tn", "b < BITS(t) ? (b64)a << b : 0"),
    (f"shr.{{b16,b32,b64,{U[1:-1]},{S[1:]}", "t=tn", "b < BITS(t) ? a >> b : a < 0 ? -1 : 0"),
    ("shf.l.wrap.b32", "t=ttn", "((b64)b << 32 | a) << (c & 31) >> 32"),
    ("shf.r.wrap.b32", "t=ttn", "((b64)b << 32 | a) >> (c & 31)"),
    ("shf.l.clamp.b32", "t=ttn", "((b64)b << 32 | a) << (c < 32 ? c : 32) >> 32"),
    ("shf.r.clamp.b32", "t=ttn", "((b64)b << 32 | a) >> (c < 32 ? c : 32)"),
    ("bfe.{u32,u64}", "t=tnn", "(b & 255) > 63 ? 0 : (b64)a >> (b & 255) & ptx_ones(c & 255)"),
    ("bfe.{s32,s64}", "t=tnn", "ptx_signed_field(a, b & 255, c & 255)"),
    ("bfi.{b32,b64}", "t=ttnn", "ptx_inserted(a, b, c & 255, d & 255)"),
    ("bfind.{u32,u64}", "n=t", "ptx_highest(a)"),
    ("bfind.{s32,s64}", "n=t", "ptx_highest(a < 0 ? ~a : a)"),
    ("bfind.shiftamt.{u32,u64}", "n=t", "a ? BITS(t) - 1 - ptx_highest(a) : -1"),
    ("brev.{b32,b64}", "t=t", "ptx_reversed(a, BITS(t))"),
    ("clz.{b32,b64}", "n=t", "BITS(t) - 1 - ptx_highest(a)"),
    ("popc.{b32,b64}", "n=t", "__builtin_popcountll(a)"),
    ("prmt.b32", "t=ttn", "ptx_permuted(a, b, c)"),
    ("lop3.b32", "t=tttn", "ptx_logic(a, b, c, d)"),
    # conversions
    (f"cvt.{BYTE}.{BYTE}", "r=t", "a"),
    (f"cvt.sat.{BYTE}.{BYTE}", "r=t", "(s128)a > HIGHEST(r) ? HIGHEST(r) : (s128)a < LOWEST(r) ? LOWEST(r) : (r)a"),
    ("cvt.f64.f32", "r=t", "a"),
    ("cvt.rn.f32.f64", "r=t", "a"),
    (f"cvt.rn.{F}.{BYTE}", "r=t", "a"),
    ("cvt.sat.{f32.f32,f64.f64}", "r=t", "a > 0 ? a < 1 ? a : 1 : 0"),
    *((f"cvt.{rounding}.{{f32.f32,f64.f64}}", "r=t", whole) for rounding, whole in WHOLE.items()),
    *((f"cvt.{rounding}.{WORD}.{F}", "r=t", f"CLAMPED(r, t, {whole})") for rounding, whole in WHOLE.items()),
]

DIRECTED = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}

CONTROL = [
    (r"bra(?:\.uni)? (\S+)", r"goto \1;"),
    (r"ret(?:\.uni)?", "return;"),
    (r"bar(?:rier)?\.sync 0", "__syncthreads();"),
]
COORDINATES = {
    f"%{register}.{axis}": f"{name}.{axis}"
    for register, name in {"tid": "threadIdx", "ctaid": "blockIdx", "ntid": "blockDim", "nctaid": "gridDim"}.items()
    for axis in "xyz"
}


def spelled_out(pattern):
    """a.{b,c} → a.b and a.c"""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


ROWS = {opcode: (types, meaning) for pattern, types, meaning in INSTRUCTIONS for opcode in spelled_out(pattern)}


# An opcode as a function of C


def _row(opcode):
    """Types and meaning of an opcode, its directed rounding (or None), and whether subnormal numbers are flushed."""
    if opcode in ROWS:
        return ROWS[opcode], None, False
    parts = opcode.split(".")
    plain = ".".join("rn" if part in DIRECTED else part for part in parts if part != "ftz")
    if plain not in ROWS:
        raise UnknownPTX(f"no instruction {opcode} is known")
    return ROWS[plain], next((DIRECTED[part] for part in parts if part in DIRECTED), None), "ftz" in parts


def _types(opcode):
    types = [part for part in opcode.split(".") if re.fullmatch(r"pred|[bsuf]\d+", part)]
    named = {"t": types[-1], "r": types[0], "p": "pred", "n": "u32"}
    if types[-1][0] in "bsu":
        width, sign = int(types[-1][1:]), "s" if types[-1][0] == "s" else "u"
        named |= {"u": f"u{width}", "w": f"{sign}{2 * width}"}
    return named


def _c_name(opcode):
    return "ptx_" + opcode.replace(".", "_")


def _operation(opcode, count):
    """The C function of an opcode, from `count` registers to a register."""
    (signature, meaning), rounding, flushed = _row(opcode)
    types = _types(opcode)
    result, *operands = (types[letter] for letter in signature.replace("=", ""))
    if len(operands) != count:
        raise UnknownPTX(f"{opcode} is known with {len(operands)} operands")
    named = list(zip("abcd", operands, strict=False))
    keep = "volatile " if rounding else ""  # else the compiler may move it from under its rounding

    def flush(kind, text):
        return f"ptx_flushed_f32({text})" if flushed and kind == "f32" else text

    lines = [
        f"static inline b64 {_c_name(opcode)}({', '.join(f'b64 {name.upper()}' for name, _ in named)}) {{",
        *(f"typedef {types[letter]} {letter};" for letter in "truw" if letter in types and re.search(rf"\b{letter}\b", meaning)),
        *(f"{keep}{kind} {name} = {flush(kind, f'as_{kind}({name.upper()})')};" for name, kind in named),
        f"fesetround({rounding});" if rounding else "",
        f"{keep}{result} result = {meaning};",
        "fesetround(FE_TONEAREST);" if rounding else "",
        f"return of_{result}({flush(result, 'result')});",
    ]
    return "\n    ".join(filter(None, lines)) + "\n}"


# How PTX is written

NOT_CODE = re.compile(r"//[^\n]*|/\*.*?\*/|^\.(?:version|target|address_size)[^\n]*", re.DOTALL | re.MULTILINE)
STATEMENT = re.compile(
    r"\s*(?:(?P<label>[\w$]+)\s*:(?!:)"
    r"|(?P<head>(?:\.\w+\s+)?\.(?:entry|func)\b[^;{]*);?"
    r"|(?P<brace>[{}])"
    r"|(?P<directive>\.[^;{}]*(?:\{[^{}]*\}[^;{}]*)*);"
    r"|(?P<instruction>[^;{}]*(?:\{[^{}]*\}[^;{}]*)*);)"
)
HEAD = re.compile(
    r"(?:\.(?:visible|weak) )?\.(?P<kind>entry|func) (?:\((?P<results>.*?)\) )?(?P<name>[\w$]+) ?(?:\((?P<parameters>.*?)\))?"
    r"(?: ?\.(?:maxntid|reqntid|minnctapersm|maxnreg) [\d, ]+)*"
)
VARIABLE = re.compile(
    r"(?:\.(?:visible|weak) )?\.(?P<space>param|local|shared|const|global)(?: \.align (?P<align>\d+))? \.[busf](?P<bits>\d+)"
    r"(?: \.ptr(?: \.(?:global|const|shared|local))?(?: \.align \d+)?)? (?P<name>[\w$]+)(?:\[(?P<count>\d+)\])?"
    r"(?: = \{?(?P<values>[^{}]*)\}?)?"
)
INSTRUCTION = re.compile(r"(?:@(?P<guard>!?%?[\w$]+) )?(?P<opcode>[a-z][\w.:]*) ?(?P<operands>.*)")
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^,\s]+")
MEMORY = re.compile(
    r"(?P<verb>ld|st)(?:\.volatile)?(?:\.(?P<space>param|global|const|local|shared))?(?:\.nc)?(?:\.v(?P<count>[24]))?\."
    r"(?P<type>[busf](?P<bits>\d+))"
)
PACKED = re.compile(r"mov\.b(?P<bits>\d+)")
INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0|[1-9]\d*)U?")
BIT_PATTERN = re.compile(r"0(?:[dD][0-9a-fA-F]{16}|[fF][0-9a-fA-F]{8})")
PLACE = re.compile(r"(?P<name>%?[\w$]+)(?: ?\+ ?(?P<offset>-?\d+))?")


def _statements(ptx):
    """(kind, text) of each statement, its white space made one blank."""
    text, at = NOT_CODE.sub("", ptx).rstrip(), 0
    while at < len(text):
        found = STATEMENT.match(text, at)
        if not found:
            raise UnknownPTX(f"this is no statement: {text[at : at + 80].strip()!r}")
        yield found.lastgroup, " ".join(found[found.lastgroup].split())
        at = found.end()


def _bits(literal):
    """A number as the bits of a register, in C."""
    if BIT_PATTERN.fullmatch(literal):
        return f"0x{literal[2:]}ull"
    if INTEGER.fullmatch(literal):
        return f"{int(literal.rstrip('U'), 0) & 0xFFFF_FFFF_FFFF_FFFF:#x}ull"
    raise UnknownPTX(f"{literal} is no number")


def _register(name):
    return "r_" + name.lstrip("%")


def _parts(text):
    """The names in {%a, %b}, in (%a, %b) and in %a."""
    return re.findall(r"[^{}(),\s]+", text)


def _size(variable):
    return int(variable["bits"]) // 8 * int(variable["count"] or 1)


def _word(parameter):
    """The name of an entry's parameter, which comes as one word."""
    if _size(parameter) > 8:
        raise UnknownPTX(f"parameter {parameter['name']} has more than 64 bits")
    return parameter["name"]


@define
class _Translation:
    """The C of a module, as it grows statement by statement."""

    operations: dict[str, str] = field(factory=dict)
    prototypes: list[str] = field(factory=list)
    lines: list[str] = field(factory=list)
    names: set[str] = field(factory=set)  # of variables, parameters and functions
    registers: set[str] = field(factory=set)
    shared: int = 0  # bytes of shared memory so far
    where: str = "module"
    opening: str = ""
    depth: int = 0

    def text(self):
        shared = f"_Alignas(16) static u8 ptx_shared[{max(self.shared, 1)}];"
        return "\n".join([PRELUDE, shared, *self.operations.values(), *self.prototypes, *self.lines, ""])

    def take(self, kind, text):
        try:
            getattr(self, kind)(text)
        except UnknownPTX as reason:
            raise UnknownPTX(f"{self.where}: {text!r}: {reason}") from None

    def add(self, line):
        self.lines.append("    " * self.depth + line)

    # kinds of statements

    def head(self, text):
        """A function is declared; a brace follows if this is its definition."""
        found = HEAD.fullmatch(text)
        if not found:
            raise UnknownPTX("no such head of a function is known")
        self.where, self.registers = found["name"], {"_"}
        self.names.add(self.where)
        results, parameters = self.parameters(found["results"]), self.parameters(found["parameters"])
        if found["kind"] == "entry":
            signature = f"void {self.where}(const b64 *args)"
            self.opening = signature + " { " + "".join(f"const b64 *{_word(each)} = args + {i}; " for i, each in enumerate(parameters))
        else:
            taken = ", ".join(f"void *{each['name']}" for each in results + parameters)
            signature = f"static void {self.where}({taken or 'void'})"
            self.opening = signature + " { "
        self.prototypes.append(signature + ";")

    def label(self, text):
        self.add(f"{text}: ;")

    def brace(self, text):
        if text == "}":
            self.depth -= 1
        self.add(text if self.depth or text == "}" else self.opening + "b64 r__;")
        if text == "{":
            self.depth += 1

    def directive(self, text):
        kind, _, rest = text.partition(" ")
        if kind == ".reg":
            self.declare(rest)
        elif kind != ".pragma":
            self.variable(self.declared(text))

    def instruction(self, text):
        found = INSTRUCTION.fullmatch(text)
        if not found:
            raise UnknownPTX("no such form of an instruction is known")
        done = self.action(found["opcode"], found["operands"])
        self.add(f"if ({self.value(found['guard'])}) {done}" if found["guard"] else done)

    # declarations

    def parameters(self, text):
        return [self.declared(each.strip()) for each in (text or "").split(",") if each.strip()]

    def declared(self, text):
        found = VARIABLE.fullmatch(text)
        if not found:
            raise UnknownPTX(f"no such declaration is known: {text}")
        self.names.add(found["name"])
        return found

    def variable(self, found):
        """Its bytes; of shared memory, its place in the one buffer."""
        align = int(found["align"] or _size(found))
        if found["space"] == "shared":
            place = -(-self.shared // align) * align
            self.shared = place + _size(found)
            self.add(f"enum {{ {found['name']} = {place} }};")
        else:
            values = ", ".join(_bits(each) for each in OPERAND.findall(found["values"] or ""))
            initial = f" = {{{values}}}" if values else ""
            self.add(f"_Alignas({align}) b{found['bits']} {found['name']}[{found['count'] or 1}]{initial};")

    def declare(self, text):
        """b32 %r<3> is %r0, %r1, %r2."""
        names = []
        for each in text.partition(" ")[2].split(","):
            stem, _, count = each.strip(" >").partition("<")
            names += [f"{stem}{number}" for number in range(int(count))] if count else [stem]
        self.registers.update(names)
        self.add(f"b64 {', '.join(map(_register, names))};")

    # instructions

    def action(self, opcode, operands):
        """What an instruction does, as one statement of C."""
        for pattern, statement in CONTROL:
            if found := re.fullmatch(pattern, f"{opcode} {operands}".strip()):
                return found.expand(statement)
        operands = OPERAND.findall(operands)
        if opcode in ("call", "call.uni"):
            return self.call(operands)
        if memory := MEMORY.fullmatch(opcode):
            return self.load_or_store(memory, *operands)
        if (packed := PACKED.fullmatch(opcode)) and "{" in "".join(operands):
            return self.pack(int(packed["bits"]), *operands)
        if opcode not in self.operations:
            self.operations[opcode] = _operation(opcode, len(operands) - 1)
        return f"{self.target(operands[0])} = {_c_name(opcode)}({', '.join(map(self.value, operands[1:]))});"

    def call(self, operands):
        name = next((each for each in operands if each[0] != "("), "")
        if name not in self.names:
            raise UnknownPTX(f"no function {name} is known")
        passed = [name for each in operands if each[0] == "(" for name in _parts(each)]
        return f"{name}({', '.join(passed)});"

    def load_or_store(self, found, first, second):
        registers, address = (first, second) if found["verb"] == "ld" else (second, first)
        names, size = _parts(registers), int(found["bits"]) // 8
        if len(names) != int(found["count"] or 1):
            raise UnknownPTX(f"{registers} are not as many as the opcode says")
        places = [f"ptx_here + {size * i}" for i in range(len(names))]
        if found["verb"] == "ld":
            moves = [f"{self.target(name)} = ld_{found['type']}({place});" for name, place in zip(names, places, strict=True)]
        else:
            moves = [f"st_{found['type']}({place}, {self.value(name)});" for name, place in zip(names, places, strict=True)]
        return f"{{ b64 ptx_here = {self.address(found['space'], address, size * len(names))}; {' '.join(moves)} }}"

    def address(self, space, text, size):
        at = self.value(text.strip("[] "))
        return f"ptx_within((b64)ptx_shared, sizeof ptx_shared, {at}, {size})" if space == "shared" else f"ptx_at({at}, {size})"

    def pack(self, bits, target, source):
        """mov.b64 %rd, {%low, %high}, or the other way round."""
        parts = _parts(source if source[0] == "{" else target)
        kind, places = f"b{bits // len(parts)}", [bits // len(parts) * i for i in range(len(parts))]
        if source[0] == "{":
            pieces = [f"(b64)as_{kind}({self.value(each)}) << {place}" for each, place in zip(parts, places, strict=True)]
            return f"{self.target(target)} = {' | '.join(pieces)};"
        pieces = [f"{self.target(each)} = of_{kind}(ptx_whole >> {place});" for each, place in zip(parts, places, strict=True)]
        return f"{{ b64 ptx_whole = {self.value(source)}; {' '.join(pieces)} }}"

    def target(self, text):
        if text not in self.registers:
            raise UnknownPTX(f"{text} is no register")
        return _register(text)

    def value(self, text):
        """An operand, in C."""
        if text in COORDINATES:
            return COORDINATES[text]
        if text[0].isdigit() or text[0] == "-":
            return _bits(text)
        if text[0] == "!":
            return f"!{self.target(text[1:])}"
        found = PLACE.fullmatch(text)
        if found and found["name"] in self.registers:
            name = _register(found["name"])
        elif found and found["name"] in self.names:
            name = f"(b64){found['name']}"
        else:
            raise UnknownPTX(f"{text} is not known")
        return f"({name} + ({found['offset']}))" if found["offset"] else name


def translated(ptx):
    """The C source for a PTX module; `UnknownPTX` names what it has no meaning for."""
    translation = _Translation()
    for kind, text in _statements(ptx):
        translation.take(kind, text)
    return translation.text()
