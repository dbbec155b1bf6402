"""The reduced equations held against full softmax attention, trained and differentiated in PyTorch.

Run from the root of the repository: ``python -m validation [NAME ...] [--quick | --full] [--seed N]``, and
``python -m validation calibrate`` for how often the checks are wrong. PyTorch is needed here and nowhere
else; the shipped package imports nothing of this.
"""

_MULTITASK = ("gradient", "recorded", "gap", "escape", "random_starts", "edge", "adam")
MODULES = {name: f"validation.multitask.{name}" for name in _MULTITASK} | {
    "sparse": "validation.sparse.trained",
    "sparse_paper": "validation.sparse.paper",
}
BY_NAME = ("sparse_paper",)  # for a GPU, and run only if they are named
NAMES = tuple(name for name in MODULES if name not in BY_NAME)
TOGETHER = ("recorded", "gap", "escape")  # share their training runs, and are therefore not run side by side
