"""Compiled loops: the accuracy of exp and its derivatives, and the cache of compiled code."""

import errno
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sweeping import document, write

from optimlab import compiled_code as module
from optimlab.compiled_code import PACKAGES, SOURCES, Compiled, cache_folder, usable_folder
from optimlab.data.named import File
from optimlab.execution import compilation
from optimlab.execution.compilation import compile_once, load_compiled
from optimlab.experiment.own import OwnProblem
from optimlab.nn.activations import ACTIVATIONS
from optimlab.nn.compiled import OF_LOOPS, compiled, dots, exp, expm1
from optimlab.problems import Digits

IS_COMPILED = os.environ.get("NUMBA_DISABLE_JIT") != "1"
DTYPES = ["float32", "float64"]


@compiled
def exp_of_all(x, y):
    for i in range(len(x)):
        y[i] = exp(x[i])


@compiled
def expm1_of_all(x, y):
    for i in range(len(x)):
        y[i] = expm1(x[i])


def made(function):
    """Return what a compiled loop makes of an array."""

    def apply(x):
        y = np.empty_like(x)
        function(x, y)
        return y

    return apply


def activated(name):
    def apply(x):
        y = x.copy()[None]
        ACTIVATIONS[name].with_slope(y, np.empty_like(y))
        return y[0]

    return apply


def sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


# Function → what numpy has, of which numbers, all or those up to zero.
FUNCTIONS = {
    "exp": (made(exp_of_all), np.exp, 0),
    "expm1": (made(expm1_of_all), np.expm1, 0),
    "sigmoid": (activated("sigmoid"), sigmoid, np.inf),
    "tanh": (activated("tanh"), np.tanh, np.inf),
    "elu": (activated("elu"), lambda x: np.expm1(x) * x.dtype.type(0.1), 0),
}


def whole_range(dtype):
    """Return numbers from where e^x is zero to where it is infinite, and very close to zero."""
    count = 400_000 if IS_COMPILED else 2000
    least, most = np.log(np.finfo(dtype).smallest_subnormal), np.log(np.finfo(dtype).max)
    rng = np.random.default_rng(0)
    near = np.exp(rng.uniform(-60, 2, count))
    return np.concatenate([rng.uniform(least - 5, most, count), near, -near]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_two_units_in_the_last_place_over_the_whole_range(name, dtype):
    function, reference, highest = FUNCTIONS[name]
    x = whole_range(dtype)
    x = x[x <= highest]
    with np.errstate(all="ignore"):
        found = function(x)
        more = np.float64 if dtype == "float32" else np.longdouble
        exact = reference(x.astype(more))
        right = exact.astype(dtype)
    assert found.dtype == dtype
    off = np.abs((found.astype(more) - right) / np.spacing(np.abs(right)).astype(more))
    assert np.isfinite(off).all()
    assert off.max() <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_are_exact_and_nan_stays(dtype):
    x = np.array([-np.inf, np.nan, 0, -1e30], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(made(exp_of_all)(x), [0, np.nan, 1, 0])
        np.testing.assert_array_equal(made(expm1_of_all)(x), [-1, np.nan, 0, -1])


def test_what_is_compiled_is_among_the_sources_that_name_the_folder():
    loops = [
        value
        for name, source in list(sys.modules.items())
        if name.startswith("optimlab.")
        for value in vars(source).values()
        if isinstance(value, Compiled)
    ]
    assert {Path(loop.function.__code__.co_filename).parent for loop in loops} == set(PACKAGES)
    assert cache_folder().name.startswith(SOURCES.hexdigest()[:16])
    assert not cache_folder().is_relative_to(PACKAGES[0].parents[1])


@pytest.fixture
def elsewhere(monkeypatch):
    """Set the user's cache folder for this process."""

    def use(path):
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(path))
        forget()

    def forget():
        module.cache_folder.cache_clear()
        module.usable_folder.cache_clear()

    yield use
    monkeypatch.undo()
    forget()


def test_where_nothing_can_be_kept_loops_are_compiled_all_the_same(tmp_path, elsewhere, capsys):
    (tmp_path / "file").touch()
    elsewhere(tmp_path / "file")
    assert usable_folder() is None
    x = np.zeros(3)
    assert made(Compiled(exp_of_all.function, OF_LOOPS))(x).tolist() == [1] * 3
    compile_once([Digits()], ["SGD"], print)
    compile_once([Digits()], ["SGD"])
    told = capsys.readouterr()
    if IS_COMPILED:
        assert told.err.count("cannot be written to: every command compiles again") == 1


def emptied(content):
    return b""


def cut(content):
    return content[: len(content) // 2] + bytes(9)


def one_bit_flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
def test_damaged_files_are_made_again(tmp_path, elsewhere):
    """Some are as a power failure leaves them: empty, cut, or with zeros."""

    def two():
        elsewhere(tmp_path)
        Compiled(dots.function, OF_LOOPS)(np.ones((1, 2)), np.ones((1, 2)), sums := np.zeros(1))
        return sums

    assert two() == 2
    for kind, damaged in itertools.product(("nbc", "nbi"), (emptied, cut, one_bit_flipped)):
        (file,) = tmp_path.rglob(f"*.{kind}")
        before = file.stat().st_size
        file.write_bytes(content := damaged(file.read_bytes()))
        assert two() == 2
        again = [path for path in tmp_path.rglob(f"*.{kind}") if path.read_bytes() != content]
        assert [path.stat().st_size for path in again] == [before]


TOO_FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from optimlab.compiled_code import usable_folder
print(usable_folder())
"""


def test_a_disk_that_is_almost_full_keeps_nothing(tmp_path):
    """A loop that cannot be kept when it has been compiled would fail its run."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NUMBA_CACHE_DIR": ""}
    done = subprocess.run(
        [sys.executable, "-c", TOO_FULL], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"


def test_nothing_is_loaded_where_loops_run_as_they_are_written(monkeypatch):
    trained = []
    compile_once([Digits()], ["SGD"])
    monkeypatch.setattr(compilation, "train", lambda *about: trained.append(about))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    load_compiled([Digits()], ["SGD"])
    assert trained == []
    if IS_COMPILED:
        monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
        load_compiled([Digits()], ["SGD"])
        assert len(trained) == 1


def test_a_disk_that_fills_up_while_loops_compile_costs_no_run(monkeypatch):
    def full(*about):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    function = Compiled(exp_of_all.function, OF_LOOPS)
    if IS_COMPILED:
        assert usable_folder()
        monkeypatch.setattr(function.dispatcher._cache._cache_file, "save", full)
    assert made(function)(np.zeros(3)).tolist() == [1] * 3


def test_a_missing_home_folder_is_reported(elsewhere, monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    elsewhere("")
    monkeypatch.setattr(Path, "home", no_home)
    compile_once([Digits()], ["SGD"], print)
    if IS_COMPILED:
        assert "a cache folder cannot be written to" in capsys.readouterr().err


def test_a_relative_folder_is_none(elsewhere):
    elsewhere("here")
    assert cache_folder().is_relative_to(Path.home())


def test_what_has_not_been_used_for_long_is_deleted(tmp_path):
    names = ["0123456789abcdef-numba-0.60.0", "fedcba9876543210-numba-0.61.0", "notes"]
    for name in names:
        (tmp_path / name / "nn").mkdir(parents=True)
        (tmp_path / name / "nn/loop.nbc").touch()
    long_ago = time.time() - 100 * 86400
    for path in (*(tmp_path / names[0]).rglob("*"), tmp_path / names[0], tmp_path / "notes"):
        os.utime(path, (long_ago, long_ago))
    compilation._clean(tmp_path / "now")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


class OfAnotherModule:
    """A problem of the user's own, which may do anything when it is looked at."""

    def __getattr__(self, name):
        raise SystemExit(name)


def test_what_is_the_user_s_own_is_not_run(tmp_path, elsewhere):
    elsewhere(tmp_path)
    absent = OwnProblem(File("absent.py:Absent", tmp_path))
    compile_once([OfAnotherModule(), absent], ["SGD", "file.py:Rule"])
    assert not list(usable_folder().iterdir())


ONCE = """
import sys
from optimlab.execution.compilation import compile_once
from optimlab.problems import Digits
assert "numba" not in sys.modules
compile_once([Digits(hidden=(), batch_norm=False, bias=False)], ["SGD"], print)
print("numba" in sys.modules)
assert "scipy.linalg" not in sys.modules  # numba need not look for it, which takes 0.2 s
"""


@pytest.mark.slow
@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
def test_two_processes_compile_once_and_a_third_need_not_even_import_numba(tmp_path):
    variables = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NUMBA_CACHE_DIR": ""}

    def begin():
        return subprocess.Popen(
            [sys.executable, "-c", ONCE], env=variables, stdout=subprocess.PIPE, text=True
        )

    said = sorted(process.communicate(timeout=300)[0] for process in [begin(), begin()])
    assert re.fullmatch(r"compiling, once: \d+ s\nTrue\n", said[1])
    assert said[0] in ("False\n", "True\n")
    assert begin().communicate(timeout=300)[0] == "False\n"


AT_ONCE = """
import sys, threading
import numpy as np
from optimlab.nn.compiled import dots

def import_it():
    while "numba.np.arraymath" not in sys.modules:  # the one that would import it
        pass
    import scipy.linalg

sums, found = np.empty(1), []
threading.excepthook = found.append
other = threading.Thread(target=import_it)
sys.setswitchinterval(1e-5)
other.start()
dots(np.ones((1, 2)), np.ones((1, 2)), sums)
other.join()
import numba
product = numba.njit(lambda x: np.dot(x, x))  # for which numba needs it, after all
print(sums[0], product(np.ones(3)), found)
"""


@pytest.mark.slow
@pytest.mark.skipif(not IS_COMPILED, reason="nothing is compiled")
def test_what_numba_does_without_others_have():
    done = subprocess.run([sys.executable, "-c", AT_ONCE], check=True, capture_output=True, text=True)
    assert done.stdout == "2.0 3.0 []\n"


def test_an_experiment_is_loaded_without_numba_and_scikit_learn(tmp_path):
    """Each takes longer to import than all else."""
    optimizers = '[optimizers.L]\nrule = "Lookahead(SGD)"\nweight_decay = 0.1'
    text = document(optimizers=optimizers).replace('name = "digits"', 'data = "wine"')
    file = write(tmp_path, text.replace("batch_size = 600", ""))
    code = "import sys; from pathlib import Path; from optimlab.experiment.load import load"
    code += "; print(load(Path(sys.argv[1])).count(), {'numba', 'sklearn'} & {*sys.modules})"
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "6 set()\n"
