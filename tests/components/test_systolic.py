"""Products on systolic arrays (I7) against the closed forms and against SCALE-Sim."""

from __future__ import annotations

from random import Random

import pytest

from tests.components.systolic import DATAFLOWS, REPORTED, Product, cycles

ARRAYS = [(4, 4), (8, 8), (16, 16), (16, 8), (8, 16), (4, 16), (3, 5), (1, 1)]
_random = Random(1)
RAGGED = [tuple(_random.randint(1, 40) for _ in "mkn") for _ in range(3)]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("shape", [(32, 48, 64), (1, 16, 50), *RAGGED])
def test_a_product_takes_the_cycles_of_the_closed_form(dataflow, array, shape):
    product = Product(dataflow, *array, *shape)
    assert cycles(product) == product.closed_form


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("array", [(4, 4), (8, 5)])
def test_the_reference_engine_takes_the_same(dataflow, array):
    product = Product(dataflow, *array, 9, 21, 14)
    assert cycles(product, "reference") == product.closed_form


@pytest.mark.parametrize("product", REPORTED, ids=str)
def test_the_closed_form_is_one_more_than_what_scale_sim_reports(product):
    assert product.closed_form == REPORTED[product] + 1


@pytest.mark.parametrize("product", REPORTED, ids=str)
def test_a_product_takes_the_cycles_of_scale_sim(product):
    assert cycles(product) == REPORTED[product] + 1
