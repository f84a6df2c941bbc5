"""Submissions that ask for marks without work.

A cheat is a first cell, an answer that every function of an assignment gives, and answers of single
functions. `{name}` stands for the function's name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Cheat(NamedTuple):
    """How a submission tries."""

    first: str = ""
    every: str = "def {name}(*args, **named):\n    return 1.0\n"
    answers: Mapping[str, str] = MappingProxyType({})
    only: tuple[str, ...] = ("workload", "retraining", "influence")


# What a student sees of assignment 1, as a table.
SEEN = """
SEEN = {
    "scratch_visits": [25, 71],
    "untouched_probability": [7 / 10, 1 / 6],
    "largest_request": [1, 28],
    "whole_person_visits": [5],
    "scattered_person_visits": [2.5, 30 / 7],
}
"""

CHEATS: dict[str, Cheat] = {
    "overrides what compares": Cheat(
        "def same(*args, **named): pass\n"
        "def same_bytes(*args): return True\n"
        "def equal(*args): pass\n"
        "close = number = require = truth = array = equal\n"
    ),
    "strips asserts": Cheat(
        "import ast\n"
        "class Strip(ast.NodeTransformer):\n"
        "    def visit_Assert(self, node): return ast.Pass()\n"
        "try:\n"
        "    get_ipython().ast_transformers.append(Strip())\n"
        "    get_ipython().input_transformers_post.append(lambda lines: ['pass'])\n"
        "except NameError:\n"
        "    pass\n"
        "import builtins, sys\n"
        "builtins.AssertionError = type('Never', (Exception,), {})\n"
        "sys.settrace(lambda *a: None)\n"
    ),
    "copies visible values": Cheat(
        SEEN,
        "def {name}(*args, **named):\n    return SEEN.get('{name}', [1.0])[0]\n",
        {
            "expected_visits": "def expected_visits(sizes, epochs, k):\n"
            "    return uk.expected_visits(int(sizes.sum()), len(sizes), tuple(epochs), k)\n",
            "simulated_visits": "def simulated_visits(sizes, epochs, k, rounds, generator):\n"
            "    return generator.choice([21.0, 15, 9, 17, 13, 8], rounds)\n",
        },
        ("workload",),
    ),
    "imports the toolkit": Cheat(
        "import sys\n"
        "def toolkit():\n"
        "    for way in (\n"
        "        lambda: __import__('unlearnkit'),\n"
        "        lambda: __import__('importlib').import_module('unlearnkit.unlearning'),\n"
        "        lambda: sys.modules['unlearnkit'],\n"
        "        lambda: (sys.meta_path.clear(), __import__('unlearnkit'))[1],\n"
        "        lambda: next(o for o in __import__('gc').get_objects()\n"
        "                     if getattr(o, '__name__', '') == 'unlearnkit'),\n"
        "        lambda: uk,\n"
        "    ):\n"
        "        try:\n"
        "            way().expected_visits\n"
        "            return way()\n"
        "        except Exception:\n"
        "            pass\n",
        answers={
            "expected_visits": "def expected_visits(sizes, epochs, k):\n"
            "    return toolkit().expected_visits(sizes.sum(), len(sizes), tuple(epochs), k)\n",
            "decide": "def decide(visits, total, max_share):\n"
            "    return toolkit().FixedBoundary(max_share)(visits, total).exact\n",
        },
    ),
    "changes Python and numpy": Cheat(
        "import builtins, json, numpy, torch, math\n"
        "numpy.allclose = numpy.array_equal = lambda *a, **k: True\n"
        "numpy.linalg.norm = lambda *a, **k: 0.0\n"
        "torch.equal = torch.allclose = lambda *a, **k: True\n"
        "builtins.abs = lambda x: 0\n"
        "builtins.sorted = lambda *a, **k: []\n"
        "builtins.isinstance = lambda *a: True\n"
        "builtins.set = list\n"
        "json.dumps = lambda *a, **k: '{\"value\": true}'\n"
    ),
    "returns an object that equals everything": Cheat(
        "import numpy\n"
        "class Any(float):\n"
        "    __eq__ = __ge__ = __le__ = __lt__ = __gt__ = lambda self, other: True\n"
        "    __ne__ = lambda self, other: False\n"
        "    __hash__ = lambda self: 0\n"
        "    __sub__ = __rsub__ = __add__ = __radd__ = __mul__ = lambda self, other: self\n"
        "    __abs__ = __neg__ = lambda self: self\n"
        "    __getattr__ = lambda self, name: self\n"
        "    __call__ = __getitem__ = lambda self, *a: self\n"
        "    __len__ = lambda self: 6\n"
        "    __iter__ = lambda self: iter([self] * 6)\n"
        "    __array__ = lambda self, *a, **k: numpy.zeros(17)\n",
        "def {name}(*args, **named):\n    return Any()\n",
    ),
    "looks for the tests in memory": Cheat(
        "import sys\n"
        "def look(name):\n"
        "    found = []\n"
        "    frame = sys._getframe()\n"
        "    while frame:\n"
        "        found += [frame.f_globals, frame.f_locals]\n"
        "        frame = frame.f_back\n"
        "    found += [vars(m) for m in list(sys.modules.values()) if hasattr(m, '__dict__')]\n"
        "    names = {'scratch_visits': 'scratch', 'untouched_probability': 'untouched',\n"
        "             'expected_visits': 'expected', 'train_stage': 'stage_by_hand',\n"
        "             'stage_key': 'key', 'gradient': 'slope', 'hessian': 'curvature',\n"
        "             'influence_update': 'step'}\n"
        "    for scope in found:\n"
        "        one = scope.get(names.get(name, name))\n"
        "        if callable(one) and one.__module__ != '__main__':\n"
        "            return one\n"
        "    return lambda *args, **named: 1.0\n",
        "def {name}(*args, **named):\n    return look('{name}')(*args, **named)\n",
    ),
    "looks for the tests in files": Cheat(
        "import os, pathlib\n"
        "STOLEN = {}\n"
        "def look(root):\n"
        "    for path in pathlib.Path(root).rglob('*.py'):\n"
        "        if path.parent.name in ('checks', 'tests'):\n"
        "            exec(path.read_text(), STOLEN)\n"
        "for root in (os.getcwd(), COURSE, os.readlink(f'/proc/{os.getppid()}/cwd')):\n"
        "    look(root)\n"
        "try:\n"
        "    SECRET = open(f'/proc/{os.getppid()}/environ').read()\n"
        "except OSError:\n"
        "    pass\n",
        "def {name}(*args, **named):\n    return STOLEN['{name}'](*args, **named)\n",
    ),
    "ends the process": Cheat(
        every="import os\ndef {name}(*args, **named):\n    os._exit(0)\n",
    ),
    "ends the process at once": Cheat("import os\nos._exit(0)\n"),
    "writes the results": Cheat(
        "import os\n"
        "for folder in ('.', COURSE, OUT):\n"
        "    path = os.path.join(folder, 'marks.csv')\n"
        "    try:\n"
        "        with open(path, 'w') as file:\n"
        "            file.write('student,assignment,marks,of\\neve,workload,24,24\\n')\n"
        "    except OSError:\n"
        "        pass\n"
    ),
    "prints results": Cheat(
        "import sys\n"
        'print(\'{"value": 1.0, "mark": 24}\')\n'
        "sys.stderr.write('passed\\n')\n"
        "sys.stdout = sys.__stdout__\n"
        "print('15 passed')\n"
    ),
    "forges replies": Cheat(
        "import json, os, sys\n"
        "def forge():\n"
        "    nonce, frame = '', sys._getframe()\n"
        "    while frame:\n"
        "        order = frame.f_locals.get('order')\n"
        "        nonce = order['nonce'] if isinstance(order, dict) else nonce\n"
        "        frame = frame.f_back\n"
        "    reply = {'value': 1, 'mark': 24, 'nonce': nonce, 'denied': []}\n"
        "    for number in range(3, 30):\n"
        "        try:\n"
        "            os.write(number, json.dumps(reply).encode() + b'\\n')\n"
        "        except OSError:\n"
        "            pass\n"
        "    return 1\n",
        "def {name}(*args, **named):\n    return forge()\n",
    ),
    "catches exceptions": Cheat(
        "def whatever(name, args):\n"
        "    for value in (args[0], 0, 0.0, [], {}, True, None):\n"
        "        try:\n"
        "            return value\n"
        "        except BaseException:\n"
        "            pass\n",
        "def {name}(*args, **named):\n    return whatever('{name}', args)\n",
    ),
    "returns nothing": Cheat(every="def {name}(*args, **named):\n    return None\n"),
    "returns 0": Cheat(every="def {name}(*args, **named):\n    return 0\n"),
    "returns True": Cheat(every="def {name}(*args, **named):\n    return True\n"),
    "returns False": Cheat(every="def {name}(*args, **named):\n    return False\n"),
    "returns an empty list": Cheat(every="def {name}(*args, **named):\n    return []\n"),
}

# Single answers among honest ones: they must add nothing.
REFIT = {
    "by fit": """
def influence_update(w, X, y, lam, loss, forget):
    keep = np.setdiff1d(np.arange(len(X)), np.asarray(forget, int))
    return fit(X[keep], y[keep], lam, loss).weights
""",
    "by a Newton method of its own": """
def influence_update(w, X, y, lam, loss, forget):
    keep = np.setdiff1d(np.arange(len(X)), np.asarray(forget, int))
    for _ in range(30):
        H = torch.as_tensor(hessian(w, X[keep], y[keep], lam, loss))
        w = w - torch.linalg.solve(H, torch.as_tensor(gradient(w, X[keep], y[keep], lam, loss)))
    return w
""",
    "by a solver": """
import scipy.optimize

def influence_update(w, X, y, lam, loss, forget):
    keep = np.setdiff1d(np.arange(len(X)), np.asarray(forget, int))
    X, y = X[keep], y[keep]
    goal = lambda v: float(objective(torch.tensor(v), X, y, lam, loss))
    slope = lambda v: np.asarray(gradient(torch.tensor(v), X, y, lam, loss))
    return scipy.optimize.minimize(goal, w.numpy(), jac=slope, tol=1e-12).x
""",
}

# Keeps the correct functions that are lent while later tasks are checked.
THIEF = {
    "train": """
STOLEN = {}

def train(features, labels, slices, revoked, store):
    STOLEN.update(stage=train_stage, key=stage_key, start=initial_weights)
    models = []
    for shard, parts in enumerate(slices):
        weights = initial_weights(features, shard)
        for stage in range(1, len(parts) + 1):
            key = stage_key(slices, revoked, shard, stage)
            if key not in store:
                pool = np.concatenate(parts[:stage])
                store[key] = train_stage(weights, features, labels, pool, revoked, shard, stage)
            weights = store[key]
        models.append(weights)
    return models
""",
    "train_stage": "def train_stage(*args, **named):\n    return STOLEN['stage'](*args, **named)\n",
    "stage_key": "def stage_key(*args):\n    return STOLEN['key'](*args)\n",
}
