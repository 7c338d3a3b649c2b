"""Caches against pycachesim, a functional cache simulator.

All tolerances are 0: with true LRU, write-allocate and write-back (M1) the contents of a cache
follow from the order of accesses alone (M2), so there is nothing to be near to.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.components import caches
from tests.components.caches import COUNTED, LINE, Shape, Trace, counters, random_trace
from tests.contract.model_contents import Hierarchy

ONE_LEVEL = [Shape(1, 1), Shape(1, 5), Shape(8, 1), Shape(3, 2), Shape(16, 4), Shape(64, 12)]
TWO_LEVELS = [
    (Shape(1, 1), Shape(1, 2)),
    (Shape(2, 2), Shape(3, 3)),
    (Shape(8, 1), Shape(4, 4)),
    (Shape(4, 4), Shape(16, 8)),
]
LENGTH = 600


def name(shapes: Shape | tuple[Shape, ...]) -> str:
    """`3x2+16x4`: sets x ways."""
    levels = shapes if isinstance(shapes, tuple) else (shapes,)
    return "+".join(f"{shape.sets}x{shape.ways}" for shape in levels)


@pytest.fixture(scope="module")
def cachesim() -> ModuleType:
    return pytest.importorskip(
        "cachesim",
        reason="pycachesim is not installed: it is built with a C compiler by "
        "`pip install -c constraints.txt -e .[peers]`",
    )


def peer_cache(cachesim: ModuleType, shape: Shape, below: Any = None) -> Any:
    return cachesim.Cache("", shape.sets, shape.ways, LINE, load_from=below, store_to=below)


def play(cache: Any, trace: Trace) -> None:
    """A trace on pycachesim.

    Its store that hits makes the line dirty but not the most recently used, which is not LRU over
    all accesses (M1). So a store is a load and a store here: the load counts the hit or miss and
    renews the line, and the store, which always hits, only makes it dirty.
    """
    cache.loadstore([((LINE * line,), (LINE * line,) if store else None) for line, store in trace])


def peer_counters(cache: Any) -> dict[str, int]:
    return {
        "hits": cache.HIT_count,
        "misses": cache.MISS_count,
        "writebacks": cache.EVICT_count,
    }


# --- L1 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", [0, 0.4, 1], ids=["loads", "mixed", "stores"])
@pytest.mark.parametrize("shape", ONE_LEVEL, ids=name)
def test_one_level_counts_as_pycachesim(cachesim, shape, stores):
    """Hits, misses and write-backs, equal: nothing but the order of accesses decides them."""
    for seed in (1, 2):
        trace = random_trace(seed, (shape,), LENGTH + 4 * shape.lines, stores)
        cache = peer_cache(cachesim, shape)
        play(cache, trace)
        ours = counters(trace, (shape,))["L1"]
        assert ours == peer_counters(cache)
        assert ours["hits"] > len(trace) // 10
        assert ours["misses"] > shape.lines
        assert bool(ours["writebacks"]) == bool(stores)


def test_the_reference_engine_counts_as_pycachesim_too(cachesim):
    """Equal on one small shape; that both engines agree on all is what other tests are for."""
    shape = Shape(3, 2)
    trace = random_trace(3, (shape,), 150, 0.4)
    cache = peer_cache(cachesim, shape)
    play(cache, trace)
    assert counters(trace, (shape,), "reference")["L1"] == peer_counters(cache)


# --- L1 and L2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", TWO_LEVELS, ids=name)
def test_two_levels_of_loads_count_as_pycachesim(cachesim, shapes):
    """Equal at both levels: without stores nothing is written back, and the order between a
    write-back and a fetch, in which the two simulators differ, does not come up."""
    trace = random_trace(4, shapes, 2 * LENGTH, stores=0)
    l2 = peer_cache(cachesim, shapes[1])
    l1 = peer_cache(cachesim, shapes[0], below=l2)
    play(l1, trace)
    ours = counters(trace, shapes)
    assert ours == {"L1": peer_counters(l1), "L2": peer_counters(l2)}
    assert ours["L2"]["hits"] > 0


@pytest.mark.parametrize("shapes", TWO_LEVELS, ids=name)
def test_two_levels_with_stores_count_as_two_pycachesim_caches(cachesim, shapes):
    """Equal at both levels, where each level is a pycachesim cache of its own and this test
    carries lines between them in our order: the dirty victim goes to L2 before the new line is
    asked for, is used there or takes a place without being fetched, and counts as no access (M7).

    pycachesim's own second level cannot be compared: it fetches first, its write-back does not
    renew the line in L2, and one that misses reads the line from memory and counts as a miss.
    """
    trace = random_trace(5, shapes, LENGTH, stores=0.4)
    l1, l2 = (peer_cache(cachesim, shape) for shape in shapes)
    hits = misses = 0
    for line, store in trace:
        held, written, missed = l1.backend.cached, l1.EVICT_count, l1.MISS_count
        play(l1, [(line, store)])
        if l1.EVICT_count > written:
            victim = min(held - l1.backend.cached) // LINE
            play(l2, [(victim, True)])
        if l1.MISS_count > missed:
            before = l2.HIT_count, l2.MISS_count
            play(l2, [(line, False)])
            hits += l2.HIT_count - before[0]
            misses += l2.MISS_count - before[1]
    ours = counters(trace, shapes)
    assert ours["L1"] == peer_counters(l1)
    assert ours["L2"] == {"hits": hits, "misses": misses, "writebacks": l2.EVICT_count}
    assert ours["L2"]["writebacks"] > 0


# --- a matrix product -----------------------------------------------------------------------------


@pytest.mark.parametrize("kib", COUNTED)
def test_the_product_misses_as_often_as_pycachesim_counted(kib):
    """Equal, with pycachesim's counts written down: 3 x 256 first touches in the cache that holds
    all of it, and what LRU loses in the smaller ones."""
    assert caches.product(kib)["misses"] == COUNTED[kib]


@pytest.mark.parametrize("kib", COUNTED)
def test_the_product_counts_as_pycachesim(cachesim, kib):
    """Hits, misses and write-backs, equal."""
    cache = peer_cache(cachesim, caches.product_shape(kib))
    play(cache, list(caches.product_trace()))
    assert caches.product(kib) == peer_counters(cache)


@pytest.mark.parametrize("kib", COUNTED)
def test_the_product_counts_as_the_model_of_the_contract(kib):
    """Equal to the small model written from M1, M2 and M7; needs no package."""
    model = Hierarchy(caches.cached_machine(caches.product_shape(kib)))
    for line, store in caches.product_trace():
        model.access(line, store)
    expected = model.counters()["L1"]
    assert caches.product(kib) == {key: expected[key] for key in ("hits", "misses", "writebacks")}
