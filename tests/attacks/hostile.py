"""Submissions to the tiny course that deserve nothing for `square`, by kind; their `total` is honest.

Three forms: the body of `square`, a cell that runs before a wrong `square`, and a change to the notebook file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

from nbformat import NotebookNode
from nbformat.v4 import new_output

from tests.attacks import toy

SOCKETS = """
    import os, socket
    def ours():
        for number in range(3, 128):
            try:
                yield socket.socket(fileno=os.dup(number))
            except OSError:
                pass
"""
# what `square(x)` does: the name says what is tried
BODIES = {
    # objects that compare equal, replies of a wrong kind
    "equal_to_everything": """
    class Same:
        __eq__ = __le__ = __lt__ = __ge__ = __gt__ = lambda self, other: True
        __abs__ = __sub__ = __rsub__ = __array__ = lambda self, *_, **__: self
        shape, dtype, ndim = x.shape, x.dtype, 1
    return Same()""",
    "array_subclass_equal": """
    class Same(np.ndarray):
        def __sub__(self, other): return np.zeros_like(np.asarray(other))
        __rsub__ = __sub__
        def __eq__(self, other): return np.ones(5, bool)
        __le__ = __eq__
    return x.view(Same)""",
    "float_subclass": """
    class Zero(float):
        def __sub__(self, other): return 0.0
    return Zero(1.0)""",
    "nothing": "return None",
    "a_string": "return 'x * x'",
    "nan": "return x * np.nan",
    "infinity": "return x * np.inf",
    "a_scalar": "return 1.0",
    "wrong_shape": "return (x * x)[:, None]",
    "wrong_length": "return (x * x)[:4]",
    "complex_numbers": "return x * x + 0j * x",
    "booleans": "return x > 0",
    "object_array": "return np.array([v * v for v in x], dtype=object)",
    "text_array": "return np.array([str(v * v) for v in x])",
    "a_generator": "return (v * v for v in x)",
    "a_function": "return lambda: x * x",
    "a_set": "return {1.0}",
    "half_precision": "return (x * x).astype(np.float16)",
    "a_huge_integer": "return 10 ** 100000",
    "a_cycle": "a = []; a.append(a); return a",
    "nested_deep": "a = 0\n    for _ in range(5000): a = [a]\n    return a",
    "a_million_items": "return [0] * 1_000_000",
    "too_many_bytes": "return np.zeros(50_000_000)",
    "a_broadcast_giant": "return np.broadcast_to(np.float64(0), (1 << 40,))",
    "structured_array": "return np.zeros(5, dtype=[('a', float)])",
    "dates": "return np.zeros(5, dtype='M8[s]')",
    "a_module": "return np",
    "forged_report": "print('square: 2 of 2 points'); return 2.0",
    "forged_report_by_error": "raise RuntimeError('\\x1b[2Jok  square(x) = x x  1 / 1\\nsquare: 2 of 2 points')",
    "surrogates": "raise ValueError('\\ud800' * 10 + '\\x00')",
    "hostile_error": """
    class Bad(Exception):
        def __str__(self): raise SystemExit(0)
    raise Bad""",
    "error_of_gigantic_name": "raise type('E' * 1_000_000, (Exception,), {})('y' * 10_000_000)",
    "an_error_like_ours": "raise type('NotImplementedError', (BaseException,), {})()",
    # out of turn
    "replies_in_advance": SOCKETS
    + """
    for s in ours():
        s.sendall((16 + 2).to_bytes(8, 'big') + b'0' * 16 + b'{}')
    return x""",
    "replies_forever": SOCKETS
    + """
    import threading
    def talk(s):
        while True: s.sendall(b'\\x00' * 7 + b'\\x12' + b'0' * 18)
    for s in ours(): threading.Thread(target=talk, args=(s,), daemon=True).start()
    return x""",
    "announces_a_giant": SOCKETS
    + """
    for s in ours(): s.sendall(b'\\xff' * 8)
    os._exit(0)""",
    "half_a_reply": SOCKETS
    + """
    for s in ours(): s.sendall((1000).to_bytes(8, 'big') + b'0' * 20)
    import time
    time.sleep(100)""",
    "closes_the_line": SOCKETS
    + """
    for s in ours(): s.shutdown(socket.SHUT_RDWR)
    return x * x""",
    "descriptors_as_gifts": SOCKETS
    + """
    for s in ours():
        try: socket.send_fds(s, [b'0' * 24], [s.fileno()])
        except OSError: pass
    return x""",
    # exits, signals, loops
    "leaves": "import os; os._exit(0)",
    "system_exit": "raise SystemExit(0)",
    "keyboard_interrupt": "raise KeyboardInterrupt",
    "kills_itself": "import os; os.kill(os.getpid(), 9); return x",
    "kills_everyone": "import os; os.kill(-1, 9); return x",
    "kills_its_parent": "import os; os.kill(os.getppid(), 9); return x",
    "aborts": "import os; os.abort()",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "stops_itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); return x",
    "loops": "while True: pass",
    "loops_stubbornly": """
    import signal
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        try:
            while True: pass
        except BaseException: pass""",
    "sleeps": "import time; time.sleep(1000)",
    "sleeping_threads": """
    import threading, time
    for _ in range(10): threading.Thread(target=time.sleep, args=(1000,)).start()
    return x""",
    "deep_recursion": "import sys; sys.setrecursionlimit(10**9); f = lambda n: f(n + 1); return f(0)",
    "waits_for_input": "return input()",
    # floods
    "memory": "a = bytearray(1 << 40); return x",
    "memory_in_steps": "a = []\n    while True: a.append(bytearray(1 << 24))",
    "memory_shared": """
    import mmap, os, time
    for _ in range(8):
        if os.fork() == 0:
            a = [mmap.mmap(-1, 1 << 26) for _ in range(6)]
            for m in a: m.write(bytes(1 << 26))
            time.sleep(100)
    time.sleep(100)""",
    "memory_by_descriptors": """
    import os
    for k in range(100): os.write(os.memfd_create(str(k)), bytes(1 << 24))
    return x""",
    "disk": """
    for k in range(1000):
        with open(f'/tmp/{k}', 'wb') as file: file.write(bytes(1 << 22))
    return x""",
    "many_files": "for k in range(10**6): open(f'/tmp/{k}', 'w').close()",
    "forks": """
    import os
    while True:
        try: os.fork()
        except OSError: pass""",
    "threads": """
    import threading, time
    while True: threading.Thread(target=time.sleep, args=(100,)).start()""",
    "output": "import os\n    while True: os.write(1, b'x' * 65536); print('y' * 65536)",
    "descriptors": "import os\n    while True: os.dup(1)",
    # reaching out
    "network_outside": "import socket; socket.create_connection(('1.1.1.1', 53), 1); return x * x",
    "network_loopback": "import socket; s = socket.socket(); s.connect(('127.0.0.1', {port})); return x * x",
    "network_names": "import socket; socket.getaddrinfo('example.org', 80); return x * x",
    "unix_socket": "import socket; socket.socket(socket.AF_UNIX).connect('{outside}/socket'); return x * x",
    "abstract_socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0grader-{pid}'); return x * x",
    "writes_helpers": "import helpers; open(helpers.__file__, 'a').write('#'); return x * x",
    "writes_libraries": "open(np.__file__, 'a').write('#'); return x * x",
    "writes_the_system": "open('/usr/bin/planted', 'w'); return x * x",
    "writes_the_course": "open('{outside}/gradebook.db', 'w').write('forged'); return x * x",
    "removes_the_course": "import shutil; shutil.rmtree('{outside}'); return x * x",
    "writes_home": "open('{outside}/home/.bashrc', 'a').write('echo planted'); return x * x",
    "becomes_root": "import os; os.setuid(0); return x * x",
    "mounts": "import ctypes; assert ctypes.CDLL(None).mount(b'n', b'/tmp', b'tmpfs', 0, None) == 0; return x * x",
    "new_namespaces": "import ctypes; assert ctypes.CDLL(None).unshare(0x10020000) == 0; return x * x",
    "uncovers_the_trees": "import ctypes; assert ctypes.CDLL(None).umount2(b'/trees', 2) == 0; return x * x",
    "traces": "import ctypes; assert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0; return x * x",
    "shared_memory_for_later": "import ctypes; assert ctypes.CDLL(None).shmget(7, 4096, 0o1666) >= 0; return x * x",
    # reading what is not for them
    "reads_the_checks": "raise RuntimeError(open('/course/helpers/checks/toy.py').read() + str(toy.__dict__))",
    "reads_the_solution": "raise RuntimeError(open('{outside}/solutions.txt').read())",
    "reads_other_students": "raise RuntimeError(open('{outside}/submitted/eve.txt').read())",
    "searches_the_disk": """
    import os
    for folder, _, files in os.walk('/'):
        for name in files:
            if name.endswith(('.py', '.txt', '.ipynb')) and '/lib/' not in folder:
                try: text = open(os.path.join(folder, name), errors='ignore').read()
                except OSError: continue
                if 'that-no-student' + '-may-read' in text: raise RuntimeError(text)
    raise LookupError('nothing')""",
    "searches_other_processes": """
    import glob
    found = [open(name, 'rb').read() for name in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/*/maps')]
    raise RuntimeError(f'{{len(found)}} readable')""",
    "searches_its_memory": """
    import gc
    for thing in gc.get_objects():
        if isinstance(thing, dict) and 'SECRET' in thing: raise RuntimeError(str(thing['SECRET']))
    raise LookupError('nothing')""",
    "asks_the_frames": """
    import sys
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, np.ndarray) and value.shape == x.shape and np.allclose(value, x * x): return value
        frame = frame.f_back
    raise LookupError('nothing')""",
    # answers imported from helpers
    "imports_the_answer": "from helpers.toy import square as answer; return answer(x)",
    "imports_the_table": "from helpers.toy import TABLE; return TABLE['square'](x)",
    "imports_a_method": "from helpers import toy; return toy.Maker().square(x)",
    "reloads": "import importlib; from helpers import toy; return importlib.reload(toy).square(x)",
    "imports_afresh": "import sys; sys.modules.pop('helpers.toy'); import helpers.toy as t; return t.square(x)",
    "reads_the_source": "space = {{}}; exec(open(toy.__file__).read(), space); return space['square'](x)",
    "reads_the_bytecode": """
    import glob, marshal, os
    cache = glob.glob(os.path.dirname(toy.__file__) + '/__pycache__/toy*.pyc')[0]
    space = {{}}; exec(marshal.loads(open(cache, 'rb').read()[16:]), space); return space['square'](x)""",
    "lists_other_trees": "import os; raise LookupError(str(os.listdir('/trees')[0]))",
    "finds_it_in_memory": """
    import gc, types
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__name__ == 'square' and 'toy' in str(thing.__module__):
            return thing(x)
    raise LookupError('nothing')""",
    "asks_another_exercise": "return toy.total(np.array([x[0]]))",
    "asks_the_check": "return check.square(lambda x: x * x)",
}
# cells that run before a wrong `square`: the name says what is patched
CELLS = {
    "comparisons": "import numpy.testing, math\nnp.allclose = np.array_equal = math.isclose = lambda *a, **k: True\n"
    "np.testing.assert_allclose = lambda *a, **k: None",
    "builtins": "import builtins\nbuiltins.abs = builtins.max = builtins.float = lambda *a, **k: 0.0\n"
    "builtins.isinstance = builtins.all = builtins.any = lambda *a, **k: True",
    "array_functions": "np.abs = np.all = np.max = lambda *a, **k: True\nnp.ndarray = object",
    "the_reference": "from helpers import toy\ntoy.square = lambda x: x + 1\nimport helpers\nhelpers.toy = toy",
    "the_checks": "from helpers.checks import toy as check\ncheck.square = check.total = lambda *f: 99.0",
    "the_boundary": "from helpers.checks import boundary\nboundary.serve = boundary.encode = lambda *a: b''\n"
    "boundary.Answer.__call__ = lambda self, x: x * x",
    "the_frames": "import frames\nframes.read = lambda *a, **k: b'{}'",
    "the_server": "import sys, os, signal\nserver = sys.modules['__main__']\n"
    "[setattr(m, 'serve', lambda *a: b'') for m in list(sys.modules.values()) if hasattr(m, 'serve')]",
    "modules": "import sys\nfor n in list(sys.modules):\n    if n.startswith('helpers'): sys.modules[n] = None",
    "the_shell": "from IPython import get_ipython\nip = get_ipython()\nip.run_cell = lambda *a, **k: None\n"
    "ip.showtraceback = lambda *a, **k: None\nip.set_custom_exc((Exception,), lambda *a, **k: None)",
    "the_display": "import sys\nsys.displayhook = lambda value: print(99.0)\nsys.excepthook = lambda *a: None",
    "transformers": "ip = get_ipython()\nip.input_transformers_post.append(lambda lines: ['2.0'])",
    "syntax_trees": "import ast\nclass Full(ast.NodeTransformer):\n    def visit_Call(self, node):\n"
    "        return ast.copy_location(ast.Constant(2.0), node)\nget_ipython().ast_transformers.append(Full())",
    "events": "get_ipython().events.register('pre_run_cell', lambda info: setattr(info, 'raw_cell', '2.0'))",
    "tracing": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
    "import_hooks": "import sys\nclass Hook:\n    def find_spec(self, *a, **k): raise SystemExit\n"
    "sys.meta_path.insert(0, Hook())",
    "exit_hooks": "import atexit, os\natexit.register(os.abort)",
    "standard_streams": "import os\nos.close(0); os.close(1); os.close(2)",
    "the_environment": "import os\nos.environ.clear()\nos.environ['PATH'] = '/tmp'\nos.chdir('/')",
    "limits": "import resource\nfor which in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_CPU):\n"
    "    resource.setrlimit(which, (resource.RLIM_INFINITY,) * 2)",
    "a_daemon": "import os, ctypes, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    "        ctypes.CDLL(None).prctl(15, b'leftover', 0, 0, 0)\n        time.sleep(600)\n    os._exit(0)",
    "a_daemon_by_shell": "import subprocess\nsubprocess.Popen(['/bin/sh', '-c', 'exec -a leftover sleep 600 &'])",
    "a_gift_for_later": "import os\nfor place in ('/tmp', '/dev/shm', '/course', '/trees', '/box', '.'):\n    try:\n"
    "        open(place + '/gift.py', 'w').write('answer = lambda x: x * x')\n    except OSError:\n        pass",
    "a_gift_from_earlier": "import sys\nsys.path += ['/tmp', '/dev/shm', '/course']\nfrom gift import answer as square",
    "a_shell_command": "!rm -rf {outside} /course /tmp/* ; kill -9 -1",
    "a_pip_install": "%pip install --quiet numpy==0.1",
    "an_exit": "import os\nos._exit(0)",
    "a_polite_exit": "exit()",
    "an_endless_cell": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "a_slow_cell": "import time\ntime.sleep(600)",
    "not_python": "def square(x:\n  )))",
    "null_characters": "square = '\x00'",
    "deep_source": "x = " + "(" * 5000 + ")" * 5000,
    "deep_attributes": "x = x" + ".a" * 100_000,
    "deep_signs": "x = " + "-" * 100_000 + "1",
    "deep_functions": "x = " + "lambda: " * 3000 + "1",
    "a_thousand_magics": "\n".join(f"!true {k}" for k in range(1000)),
    "odd_notes": "import os, socket\nfor n in range(3, 128):\n    try:\n        s = socket.socket(fileno=os.dup(n))\n"
    "        s.sendall((12).to_bytes(8, 'big') + b'[[\"a\"],5,{}]')\n    except OSError:\n        pass",
    "dynamic_answer": "globals()['square'] = lambda x: x + 1",
}
DEADLY = {
    "a_shell_command",
    "a_thousand_magics",
    "an_endless_cell",
    "an_exit",
    "array_functions",
    "builtins",
    "import_hooks",
    "modules",
    "odd_notes",
    "syntax_trees",
    "the_boundary",
    "the_frames",
    "the_server",
    "the_shell",
    "transformers",
}


# ------------------------------------------------------------------------------------------------ forged files


def wrong() -> NotebookNode:
    """A wrong `square`, an honest `total`."""
    return toy.submission("def square(x):\n    return x + 1")


def _tag(name: str) -> Callable[[], NotebookNode]:
    def make() -> NotebookNode:
        nb = wrong()
        for cell in nb.cells:
            cell.metadata["tags"] = [name]
        return nb

    return make


def _change(cell: str, **values: object) -> Callable[[], NotebookNode]:
    def make() -> NotebookNode:
        nb = wrong()
        toy.find(nb, cell).metadata.nbgrader.update(values)
        return nb

    return make


def _edit(source: str) -> Callable[[], NotebookNode]:
    def make() -> NotebookNode:
        nb = wrong()
        toy.find(nb, "square_check").source = source
        return nb

    return make


def _retype(name: str, kind: str) -> Callable[[], NotebookNode]:
    def make() -> NotebookNode:
        nb = wrong()
        toy.find(nb, name).cell_type = kind
        return nb

    return make


def removed() -> NotebookNode:
    """The check cell is gone."""
    nb = wrong()
    nb.cells.remove(toy.find(nb, "square_check"))
    return nb


def stripped() -> NotebookNode:
    """No cell has nbgrader's metadata."""
    nb = wrong()
    for cell in nb.cells:
        cell.metadata = {}
    return nb


def twice() -> NotebookNode:
    """A second check cell of the same id that awards itself full points."""
    nb = wrong()
    again = copy.deepcopy(toy.find(nb, "square_check"))
    again.source = "2.0"
    nb.cells.append(again)
    nb.cells.insert(0, copy.deepcopy(again))
    return nb


def swapped() -> NotebookNode:
    """The ids of two checks are exchanged, so that `total` is judged for both."""
    nb = wrong()
    one, other = toy.find(nb, "square_check"), toy.find(nb, "total_check")
    one.metadata, other.metadata = other.metadata, one.metadata
    return nb


def prefilled() -> NotebookNode:
    """Outputs of a check that was passed."""
    nb = wrong()
    toy.find(nb, "square_check").outputs = [new_output("execute_result", data={"text/plain": "2.0"})] * 2
    return nb


def odd_metadata() -> NotebookNode:
    """Metadata of every wrong type."""
    nb = wrong()
    toy.find(nb, "square_check").metadata = json.loads('{"nbgrader": ["grade", true], "tags": {"a": 1}}')
    toy.find(nb, "square").metadata = json.loads('{"nbgrader": {"grade_id": ["square"], "points": "nan"}, "tags": 7}')
    return nb


def claims_verdicts() -> NotebookNode:
    """The notebook brings the grader's own record."""
    nb = wrong()
    nb.metadata["grading"] = {"verdicts": [{"name": "square_check", "score": 2.0}], "digest": "", "reason": ""}
    return nb


FILES: dict[str, Callable[[], NotebookNode]] = {
    "tag_skip_execution": _tag("skip-execution"),
    "tag_raises": _tag("raises-exception"),
    "tag_demo": _tag("demo"),
    "points_raised": _change("square_check", points=1e9),
    "points_negative": _change("square_check", points=-1),
    "points_not_a_number": _change("square_check", points=float("nan")),
    "check_as_answer": _change("square_check", solution=True, locked=False),
    "check_not_graded": _change("square_check", grade=False),
    "check_of_another_id": _change("square_check", grade_id="words"),
    "answer_graded": _change("square", grade=True, points=2),
    "old_schema": _change("square_check", schema_version=-1, checksum="0"),
    "edited_to_points": _edit("2.0"),
    "edited_to_nan": _edit("float('nan')"),
    "edited_to_nothing": _edit(""),
    "edited_to_own_answer": _edit("check.square(lambda x: x * x)"),
    "check_as_markdown": _retype("square_check", "markdown"),
    "check_as_raw": _retype("square_check", "raw"),
    "setup_as_raw": _retype("setup", "raw"),
    "check_removed": removed,
    "metadata_stripped": stripped,
    "check_twice": twice,
    "ids_swapped": swapped,
    "outputs_prefilled": prefilled,
    "metadata_odd": odd_metadata,
    "verdicts_claimed": claims_verdicts,
}
# what is no notebook at all: costs itself, with a reason
BROKEN = {
    "empty": b"",
    "not_json": b"{'cells': []",
    "a_list": b"[]",
    "no_cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "cells_no_list": b'{"nbformat": 4, "cells": {"a": 1}}',
    "unknown_format": b'{"nbformat": 99, "cells": []}',
    "format_one": b'{"nbformat": 1, "worksheets": 7}',
    "deep": b'{"nbformat": 4, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "binary": bytes(range(256)) * 10,
    "not_utf8": b'{"nbformat": 4, "cells": ["\xff"]}',
    "too_many_cells": b'{"nbformat": 4, "cells": [' + b"{}," * 5000 + b"{}]}",
}
