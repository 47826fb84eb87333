"""Settings of hypothesis, the same collection of tests in every process, and a cache of our own.

Hypothesis has no deadlines, fewer examples for `make test`, and in CI always the same ones.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, database=None)
settings.register_profile("quick", deadline=None, max_examples=15)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# A shell, a hook of git or a CI may have set them; they change what commands print, or which repository
# is asked.
OF_ELSEWHERE = ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "MPLBACKEND", "NO_COLOR", "PY_COLORS")
for name in [each for each in os.environ if each in OF_ELSEWHERE or each.startswith("GIT_")]:
    del os.environ[name]


def pytest_generate_tests(metafunc):
    """Refuse a set of parameters: its order differs between the processes of `pytest -n`."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if any(isinstance(given, set | frozenset) for given in (*mark.args, *mark.kwargs.values())):
            raise pytest.UsageError(f"{metafunc.definition.nodeid}: parameters in no order: sort them")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What `plots` keeps of earlier drawings is not the user's; compiled loops and fonts' names are."""
    from optimlab.compiled_code import cache_folder  # not before coverage is measured

    with pytest.MonkeyPatch.context() as patch:
        if compiled := cache_folder():  # None for a user without a home folder
            users = compiled.parents[1]
            patch.setenv("NUMBA_CACHE_DIR", str(users))
            patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR") or str(users / "matplotlib"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
