"""Overlaps of two attentions: an independent program's digits, identities, and derivatives by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_law import of_head, of_pair
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from spectral_icl.multitask.exact.overlaps import FINE, MEDIUM, Grid, concentration, overlap

ROUGH = (1e-10, 1e-9, 2e-7, 1e-6)  # absolute errors of values and derivatives, variances up to 6; at L = 1
NO_SHRINKING = (Phase.explicit, Phase.generate)  # a smaller example says no more, and takes minutes
FINER = Grid(0.1, 0.25, 45.0, 38.0, 8.8, 0.6)

# K, K_g, K_a, K_b, M, K_gg, K_ag, K_bg, K_ab, K_aa, K_bb, M_a, M_b by an independent program
NAMES = ("", "g", "a", "b", "m", "gg", "ag", "bg", "ab", "aa", "bb", "ma", "mb")
DIGITS = {
    (0.5, 0.5, 0.2, 40): (
        3.0174207240e-02,
        2.8225194363e-02,
        *[-2.2236100730e-04] * 2,
        2.3047314154e-01,
        2.4795514489e-02,
        *[-1.3922570240e-03] * 2,
        1.2366818169e-05,
        *[-1.1880307559e-04] * 2,
        *[-8.3985068090e-03] * 2,
    ),
    (1, 2, -0.8, 10): (
        5.7237081401e-02,
        4.2894402094e-02,
        3.4287119533e-03,
        3.1699386960e-03,
        1.4588039251e-01,
        2.4533608064e-02,
        -1.6997827723e-03,
        -1.8098950722e-03,
        -8.7324111824e-05,
        -9.4237531989e-05,
        -4.7239503570e-04,
        -1.6394176233e-02,
        -1.4457355421e-02,
    ),
    (1, 1, 1, 40): (
        5.9642202926e-02,
        4.9589410094e-02,
        *[-2.9870144282e-03] * 2,
        2.2119858953e-01,
        3.6926948370e-02,
        *[-5.8846432980e-03] * 2,
        4.4658756393e-04,
        *[-3.0748904459e-04] * 2,
        *[-1.0256310353e-02] * 2,
    ),
    (8, 6, 5, 40): (
        1.6888738610e-01,
        5.4131226876e-02,
        -1.2145670891e-02,
        -1.4425418892e-02,
        1.1931172906e-01,
    ),
}
HELD = {  # D and its derivatives by the variance
    (1, 40): (0.9403577970738, -0.04361538123770, -0.01366657221683),
    (4, 40): (0.7954394201661, -0.0444271092103, 0.00488249972954),
    (20, 40): (0.4561685849279, -0.00994693324691),
    (1, 10): (0.8053126063054,),
    (1, 1000): (0.9973017981147,),
    (1, 2): (0.3631618460316,),
}


def values(al: float, be: float, ga: float, length: float, order: int = 3, grid: Grid = FINE) -> dict:
    """K by letters, and M by letters behind an m."""
    found = overlap(al, be, ga, length, order, grid)
    return {**found.k, **{f"m{name}": value for name, value in found.m.items()}}


@pytest.mark.parametrize(("at", "digits"), DIGITS.items())
def test_the_digits_of_an_independent_program(at: tuple[float, ...], digits: tuple[float, ...]) -> None:
    found = values(*at, order=2)
    for name, digit in zip(NAMES, digits, strict=False):
        # ten digits are given; the smallest derivatives of the program itself have fewer
        assert found[name] == pytest.approx(digit, rel=1e-9, abs=2e-14), name


@pytest.mark.parametrize(("at", "digits"), HELD.items())
def test_the_digits_of_single_heads(at: tuple[float, float], digits: tuple[float, ...]) -> None:
    size = concentration(*at)
    for found, digit, rough in zip(
        (1.0 - size[0], -size[1], -size[2]), digits, (1e-12, 1e-10, 1e-9), strict=False
    ):
        assert found == pytest.approx(digit, abs=rough)


pairs = st.tuples(
    st.floats(0.0, 4.0),
    st.floats(0.0, 4.0),
    st.floats(-1.0, 1.0),
    st.floats(0.0, math.log(2000.0)).map(math.exp),
).map(lambda at: (at[0], at[1], at[2] * math.sqrt(at[0] * at[1]), at[3]))


@given(pairs)
@settings(max_examples=15, phases=NO_SHRINKING)
def test_two_programs_agree(at: tuple[float, float, float, float]) -> None:
    """The quadrature of the tests shares no code with that of the package."""
    found, other = values(*at, order=1), of_pair(*at)
    for name, value in zip(("", "m", "a", "b", "g"), other, strict=True):
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-10), name


@given(pairs)
@settings(max_examples=15, phases=NO_SHRINKING)
def test_exchange_of_heads(at: tuple[float, float, float, float]) -> None:
    al, be, ga, length = at
    one, two = values(al, be, ga, length), values(be, al, ga, length)
    swap = str.maketrans("ab", "ba")
    for name, value in one.items():
        letters = name.removeprefix("m")
        other = two[name[: len(name) - len(letters)] + "".join(sorted(letters.translate(swap)))]
        assert value == pytest.approx(other, abs=2.0 * ROUGH[len(letters)]), name


@given(pairs)
@settings(max_examples=5, phases=NO_SHRINKING)
def test_derivatives_are_those_of_the_values(at: tuple[float, float, float, float]) -> None:
    """Of every order, third included, against central differences of one order less; and M_ga = K_al_be.

    From a point within the cone ga^2 < al be, which differences must not leave.
    """
    al, be, ga, length = 0.5 * at[0] + 0.3, 0.5 * at[1] + 0.3, 0.5 * at[2], at[3]
    step = 4e-3
    here = values(al, be, ga, length, grid=FINER)
    for letter, way in (("a", (1, 0, 0)), ("b", (0, 1, 0)), ("g", (0, 0, 1))):
        around = [
            values(*(x + n * step * w for x, w in zip((al, be, ga), way, strict=True)), length, grid=FINER)
            for n in (-2, -1, 1, 2)
        ]
        for name in around[0]:
            letters = name.removeprefix("m")
            if len(letters) > (1 if name.startswith("m") else 2):
                continue
            difference = np.dot([1, -8, 8, -1], [one[name] for one in around]) / (12.0 * step)
            if name.startswith("m") and letter == "g":
                exact = here["".join(sorted(letters + "ab"))]
            else:
                exact = here[name[: len(name) - len(letters)] + "".join(sorted(letters + letter))]
            assert exact == pytest.approx(difference, rel=1e-6, abs=1e-7), (name, letter)


@given(st.floats(0.0, 6.0), st.floats(0.0, math.log(2000.0)).map(math.exp))
@settings(max_examples=15, phases=NO_SHRINKING)
def test_a_head_with_itself(al: float, length: float) -> None:
    """K = E |p|^2, by two integrals and by one; its derivatives by the chain rule."""
    found = values(al, al, al, length, order=2)
    size = concentration(al, length)
    alone = of_head(al, length)
    assert found[""] == pytest.approx(size[0], abs=ROUGH[0])
    assert size[0] == pytest.approx(alone.K, rel=1e-9)
    once = found["a"] + found["b"] + found["g"]
    assert once == pytest.approx(size[1], abs=ROUGH[1])
    twice = sum(found["".join(sorted(u + w))] for u in "abg" for w in "abg")
    assert twice == pytest.approx(size[2], abs=ROUGH[2])


@given(pairs)
@settings(max_examples=15, phases=NO_SHRINKING)
def test_uncorrelated_logits(at: tuple[float, float, float, float]) -> None:
    """Attentions are independent: K = 1 / L and M = D D / 4 whatever the variances."""
    al, be, _, length = at
    found = values(al, be, 0.0, length, order=2)
    one, two = concentration(al, length), concentration(be, length)
    assert found[""] == pytest.approx(1.0 / length, rel=1e-10)
    for name in ("a", "b", "aa", "ab", "bb"):
        assert found[name] == pytest.approx(0.0, abs=ROUGH[len(name)]), name
    assert found["m"] == pytest.approx((1.0 - one[0]) * (1.0 - two[0]) / 4.0, rel=1e-10, abs=1e-12)
    assert found["ma"] == pytest.approx(-one[1] * (1.0 - two[0]) / 4.0, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("length", [1, 2, 7.5, 40, 1e5])
def test_uniform_attention(length: float) -> None:
    found = values(0.0, 0.0, 0.0, length, order=1)
    exact = {"": 1.0, "g": 1.0 - 1.0 / length, "a": 0.0, "b": 0.0}
    for name, value in exact.items():
        assert length * found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert found["m"] == pytest.approx((1.0 - 1.0 / length) ** 2 / 4.0, rel=1e-10, abs=1e-12)


@given(pairs)
@settings(max_examples=15, phases=NO_SHRINKING)
def test_one_pair_of_context(at: tuple[float, float, float, float]) -> None:
    """Attention is 1 on the only pair, whatever the logits."""
    found = values(*at[:3], 1.0)
    for name, value in found.items():
        assert value == pytest.approx(0.0 if name else 1.0, abs=ROUGH[len(name.removeprefix("m"))]), name
    for n, value in enumerate(concentration(at[0], 1.0)):
        assert value == pytest.approx(0.0 if n else 1.0, abs=ROUGH[n])


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(-1.0, 1.0))
@settings(max_examples=15, phases=NO_SHRINKING)
def test_two_pairs_of_context(al: float, be: float, cosine: float) -> None:
    """Logistic functions of the differences of the logits, jointly normal of twice the covariance."""
    z, w = np.polynomial.hermite_e.hermegauss(200)
    w = w / w.sum()
    s = math.sqrt(2.0 * al) * z[:, None]
    t = math.sqrt(2.0 * be) * (cosine * z[:, None] + math.sqrt(1.0 - cosine**2) * z)
    p, r = 1.0 / (1.0 + np.exp(-s)), 1.0 / (1.0 + np.exp(-t))
    found = values(al, be, cosine * math.sqrt(al * be), 2.0, order=1)
    both = w @ (p * r + (1.0 - p) * (1.0 - r)) @ w
    lost = w @ ((p * (1.0 - p)) * (r * (1.0 - r))) @ w  # (1 - |p|^2) / 2 = p (1 - p) twice
    assert found[""] == pytest.approx(both, rel=1e-9)
    assert found["m"] == pytest.approx(lost, rel=1e-8, abs=1e-11)


@pytest.mark.parametrize(("grid", "rough"), [(FINE, 2e-11), (MEDIUM, 3e-8)])
def test_grids_are_as_fine_as_they_say(grid: Grid, rough: float) -> None:
    """K, M and their first derivatives at small and moderate variances."""
    rng = np.random.default_rng(3)
    for _ in range(12):
        al, be = rng.uniform(0.0, 3.0, 2)
        ga = rng.uniform(-1.0, 1.0) * math.sqrt(al * be)
        length = math.exp(rng.uniform(0.0, 7.0))
        found, true = values(al, be, ga, length, 1, grid), values(al, be, ga, length, 1, FINER)
        assert max(abs(found[name] - true[name]) for name in true) < rough, (
            al,
            be,
            ga,
            length,
        )


@pytest.mark.parametrize("al", [0.0, 1e-300, 60.0])
@pytest.mark.parametrize("be", [0.0, 0.3])
@pytest.mark.parametrize("length", [1.0, 40.0, 1e6])
def test_extremes_are_numbers(al: float, be: float, length: float) -> None:
    found = values(al, be, 0.0, length, order=2, grid=MEDIUM)
    assert np.isfinite(list(found.values())).all()
    assert found[""] == pytest.approx(1.0 / length, rel=1e-6)
