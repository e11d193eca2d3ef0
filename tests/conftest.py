"""Every test runs with checked shapes, two threads at most, and random numbers that no other test can shift."""

import os
import random
import signal
import zlib
from collections.abc import Iterator

from jaxtyping import install_import_hook

# first of all: what is imported before the hook is never checked
install_import_hook("polarlight", "typechecker.check")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, which tests send
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """State goes to a folder of the run's own, in processes that tests start too, never to the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLARLIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def own_random_numbers(request: pytest.FixtureRequest) -> None:
    """Seed the global generators from the test's name: no test seeds them, and the order of tests changes nothing."""
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
