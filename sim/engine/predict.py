"""Branch prediction: two-bit counters, by pc or by pc and history, and a return stack (F5)."""

from isa.table import OP
from sim.engine.flat import Flat
from sim.engine.jit import njit
from sim.engine.layout import (
    C_HISTORY,
    C_HISTORY_MASK,
    C_PERFECT,
    C_PREDICTOR_MASK,
    C_RAS_TOP,
    C_RETURN_STACK,
    H_PREDICTOR,
    H_RAS,
)

J, JAL, JR = OP["j"], OP["jal"], OP["jr"]
TAKEN = 2  # a two-bit counter at or above this predicts "taken"


@njit
def predicted(S: Flat, core: int, op: int, pc: int, target: int) -> bool:
    """Whether the front end would have gone to ``target``; trains the predictor."""
    if op == J or S[core + C_PERFECT]:
        return True
    depth = S[core + C_RETURN_STACK]
    top = S[core + C_RAS_TOP]
    if op == JAL:
        if depth > 0:
            S[core + S[H_RAS] + top % depth] = pc + 1
            S[core + C_RAS_TOP] = top + 1
        return True
    if op == JR:
        if top == 0:
            return False
        S[core + C_RAS_TOP] = top - 1
        return S[core + S[H_RAS] + (top - 1) % depth] == target
    history = S[core + C_HISTORY]
    taken = target != pc + 1
    S[core + C_HISTORY] = (history << 1 | taken) & S[core + C_HISTORY_MASK]
    counter = core + S[H_PREDICTOR] + ((pc ^ history) & S[core + C_PREDICTOR_MASK])
    state = S[counter]
    if taken:
        S[counter] = min(state + 1, 3)
        return state >= TAKEN
    S[counter] = max(state - 1, 0)
    return state < TAKEN
