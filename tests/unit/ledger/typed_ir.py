"""A walk through the typed IR of a kernel and of every helper it calls.

Numba types a function for given argument types before it makes machine code; this asks for that alone, and reports

- every variable, constant and intermediate value whose type is, or holds, a float: Numba makes one of `/`, and of a
  variable that is uint64 on one path and int64 on another;
- every operation, and every call of anything but our own helpers, in which a uint64 meets a signed integer: that
  gives an int64, which is wrong past 2^63. A literal counts as signed. Narrower unsigned numbers do not count: all
  their values fit an int64. Nor does an explicit conversion, `U64(x)` or `np.int64(x)`, which has one operand;
- every signed integer stored into a uint64 field or cell other than by such a conversion.
"""

import operator

from numba.core import ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder, Flags
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.typed_passes import NopythonTypeInference


class _UpToTypes(CompilerBase):
    """Numba's own pipeline, ended when types are known."""

    def define_pipelines(self):
        passes = PassManager("types only")
        passes.passes.extend(DefaultPassBuilder.define_untyped_pipeline(self.state).passes)
        passes.add_pass(NopythonTypeInference, "infer types")
        passes.finalize()
        return [passes]


def typed(dispatcher, arguments):
    """Numba's state with `func_ir`, `typemap` and `calltypes` of a function, typed as when it is compiled."""
    flags = Flags()
    cpu_target.options.parse_as_flags(flags, dispatcher.targetoptions)
    compiler = _UpToTypes(cpu_target.typing_context, cpu_target.target_context, None, arguments, None, flags, {})
    compiler.state.cr = "no machine code is made"
    compiler.compile_extra(dispatcher.py_func)
    return compiler.state


def plain(kind):
    """The type without what makes no difference to arithmetic: literal values, enum membership."""
    if isinstance(kind, types.IntEnumMember):
        return kind.dtype
    return types.unliteral(kind)


def holds_float(kind):
    kind = plain(kind)
    if isinstance(kind, types.Float | types.Complex):
        return True
    if isinstance(kind, types.BaseTuple):
        return any(holds_float(part) for part in kind)
    if isinstance(kind, types.Array | types.Optional):
        return holds_float(getattr(kind, "dtype", None) or kind.type)
    if isinstance(kind, types.Record):
        return any(holds_float(kind.typeof(name)) for name in kind.fields)
    return False


def mixes(kinds):
    """Whether a uint64 meets a signed integer."""
    integers = [kind for kind in map(plain, kinds) if isinstance(kind, types.Integer)]
    return types.uint64 in integers and any(kind.signed for kind in integers)


class Walk:
    """Faults of one kernel; `functions` are the names of all that were walked."""

    def __init__(self):
        self.faults = []
        self.functions = set()
        self._seen = set()

    def kernel(self, dispatcher):
        """Walk a compiled kernel with every signature it was warmed for."""
        for signature in dispatcher.signatures:
            self.function(dispatcher, signature)

    def function(self, dispatcher, arguments):
        arguments = tuple(types.unliteral(kind) for kind in arguments)
        if (dispatcher, arguments) in self._seen:
            return
        self._seen.add((dispatcher, arguments))
        function = dispatcher.py_func
        where = f"{function.__module__}.{function.__name__}"
        self.functions.add(where)
        inferred = typed(dispatcher, arguments)
        for name, kind in inferred.typemap.items():
            if holds_float(kind):
                self.faults.append(f"{where}: {name} is {kind}")
        for block in inferred.func_ir.blocks.values():
            for statement in block.body:
                self._statement(f"{where}:{statement.loc.line}", statement, inferred)

    def _statement(self, where, statement, inferred):
        typemap, calltypes = inferred.typemap, inferred.calltypes
        if isinstance(statement, ir.SetAttr | ir.SetItem | ir.StaticSetItem):
            target, value = self._stored(statement, typemap), plain(typemap[statement.value.name])
            if target == types.uint64 and isinstance(value, types.Integer) and value.signed:
                self.faults.append(f"{where}: a {value} is stored as uint64")
        expression = getattr(statement, "value", None)
        if not isinstance(expression, ir.Expr):
            return
        if expression.op in ("binop", "inplace_binop"):
            kinds = (typemap[expression.lhs.name], typemap[expression.rhs.name])
            if mixes(kinds):
                self.faults.append(f"{where}: {expression.fn.__name__} of {kinds[0]} and {kinds[1]}")
        elif expression.op == "unary" and expression.fn is operator.neg:
            if plain(typemap[expression.value.name]) == types.uint64:
                self.faults.append(f"{where}: minus a uint64")
        elif expression.op == "call":
            called, signature = typemap[expression.func.name], calltypes[expression]
            if isinstance(called, types.Dispatcher):
                self.function(called.dispatcher, signature.args)
            elif mixes(signature.args) or mixes([typemap[each.name] for each in expression.args]):
                self.faults.append(f"{where}: {called} of {signature.args}")

    def _stored(self, statement, typemap):
        target = plain(typemap[statement.target.name])
        if isinstance(statement, ir.SetAttr):
            return plain(target.typeof(statement.attr)) if isinstance(target, types.Record) else None
        kind = target.dtype if isinstance(target, types.Array) else getattr(target, "dtype", None)
        return plain(kind) if isinstance(kind, types.Type) else None
