"""What all tests rely on."""

import gc
import signal

import pytest
from hypothesis import settings

FEW, MANY = 60, 200


def pytest_configure(config):
    """Where slow tests are left out, few examples of every instruction's values are tried."""
    quick = "not slow" in config.option.markexpr
    settings.register_profile("values", deadline=None, max_examples=FEW if quick else MANY)


def pytest_collection_finish():
    """Thousands of tests are here to stay: the garbage collector need not visit them again.

    Nor need it look after every 700 new objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(7_000, 5, 5)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_interrupts():
    """Also in a background job, which a shell starts with Ctrl-C ignored, and in its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
