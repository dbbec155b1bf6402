"""What features without weight risk, as derived, against the package's leading term; and its limit."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from spectral_icl.sparse.risk.quick import p2o_offsupport_leading, p2o_risk_gh
from theory.sparse.rate import off_support, rate


@pytest.mark.parametrize("times", [2.0, 30.0])
def test_features_without_weight(times: float) -> None:
    found = float(off_support(24, 3, 2000, 1.5, 0.4, times))
    assert p2o_offsupport_leading(24, 3, 2000, 1.5, 0.4, times)[0] == pytest.approx(found, rel=1e-12)


def test_the_model_is_bounded_by_a_constant_times_the_rate_and_falls_beside_it() -> None:
    """The whole scalar model, without the leading order, at its best time: over the rate it falls with n."""
    ratios = []
    for n in (200, 2_000, 20_000, 200_000):
        best = p2o_risk_gh(32, 2, n, 1.0, 0.25, np.geomspace(2.0, 400.0, 60)).total.min()
        ratios.append(best / float(rate(32, 2, sp.Integer(n), 0.25)))
    assert max(ratios) < 1.0
    assert (np.diff(ratios) < 0.0).all()
    assert ratios[-1] * np.log(200_000) == pytest.approx(1.0, abs=0.2)
