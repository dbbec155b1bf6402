"""
Where a theorem stops
=====================

The margin of the claim that every task emerges at the predicted time, over the lead of a task's head and the
size of the start: the room left before the error is above 5 %. Where it is hatched a hypothesis is not met,
and nothing is claimed; the colour shows what happens there all the same.
`spectral-icl verify --theorem three-phases --report page.html` has this and every other variable.
"""

import os

from spectral_icl.figures.margins import plane_figure
from spectral_icl.theorems.theorem import theorem_of

small = os.environ.get("GALLERY") == "small"
theorem = theorem_of("three-phases", points=3 if small else 17)
plane = theorem.ground.over_plane()

figure = plane_figure(plane)
figure.savefig("margins.png")
