"""The reduced equations held against full softmax attention, trained and differentiated in PyTorch.

Run from the root of the repository: ``python -m validation [NAME ...] [--quick | --full]``. PyTorch is needed
here and nowhere else; the shipped package imports nothing of this.
"""

NAMES = ("gradient", "recorded", "gap", "escape", "random_starts", "edge", "adam", "sparse")
