"""Coefficients of the two methods behind `gradient_flow`.

Both have order 5, an embedded solution of order 4 and a free continuous extension of local error h^5, and
the extensions have the same form: the chord plus theta (1 - theta) times a quadratic in theta. So the two
can alternate in one run. The order conditions are verified in the tests.

Explicit: Dormand and Prince (1980, J. Comput. Appl. Math. 6:19), seven stages of which the last is the first
of the next step, with the extension of Shampine (1986, Math. Comp. 46:135).

Rosenbrock: Rodas5P (Steinebach 2023, BIT Numer. Math. 63:27), eight stages, L-stable and stiffly accurate. In
the transformed variables of Hairer and Wanner (Solving ODEs II, IV.7) a step of size h from x is

    (1 - gamma h J) k_i = gamma h f(x + sum_j a_ij k_j) + gamma sum_j c_ij k_j,
    x_new = x + sum_j a_8j k_j + k_8,

and k_8 is the error estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectral_icl.kernels.model import Rosenbrock, RungeKutta

_LAST = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)

_STAGE = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    _LAST,
    (*_LAST, 1.0),
    (*_LAST, 1.0, 1.0),
)
_COUPLING = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (
        24.854864614690072,
        -3.0009227002832186,
        47.4931110020768,
        5.5814197821558125,
        -0.6610691825249471,
    ),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
_DENSE = (
    (
        25.948786856663858,
        -2.5579724845846235,
        10.433815404888879,
        -2.3679251022685204,
        0.524948541321073,
        1.1241088310450404,
        0.4272876194431874,
        -0.17202221070155493,
    ),
    (
        -9.91568850695171,
        -0.9689944594115154,
        3.0438037242978453,
        -24.495224566215796,
        20.176138334709044,
        15.98066361424651,
        -6.789040303419874,
        -6.710236069923372,
    ),
    (
        11.419903575922262,
        2.8879645146136994,
        72.92137995996029,
        80.12511834622643,
        -52.072871366152654,
        -59.78993625266729,
        -0.15582684282751913,
        4.883087185713722,
    ),
)


def _triangle(rows: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    square = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        square[i, : len(row)] = row
    return square


RODAS5P = Rosenbrock(
    gamma=0.21193756319429014,
    order=5,
    a=_triangle(_STAGE),
    c=_triangle(_COUPLING),
    dense=np.array(_DENSE),
)

_SOLUTION = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_EMBEDDED = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
_RUNGE_KUTTA = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    _SOLUTION,
)
_CURVATURE = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)


def _dormand_prince() -> RungeKutta:
    solution = np.array([*_SOLUTION, 0.0])
    first, last, curvature = np.eye(7)[0], np.eye(7)[-1], np.array(_CURVATURE)
    # x + theta s + theta (1 - theta) [k_1 - s + theta (2 s - k_1 - k_7) + theta (1 - theta) r] with the whole
    # step s and the curvature r
    dense = np.stack([first - solution, 2.0 * solution - first - last + curvature, -curvature])
    return RungeKutta(
        order=5,
        a=_triangle(_RUNGE_KUTTA),
        error=solution - np.array(_EMBEDDED),
        dense=dense,
    )


DORMAND_PRINCE = _dormand_prince()
