"""What all tests rely on."""

import gc
import signal

import pytest


def pytest_collection_finish():
    """Thousands of tests are here to stay: the garbage collector need not visit them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_interrupts():
    """Also in a background job, which a shell starts with Ctrl-C ignored, and in its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
