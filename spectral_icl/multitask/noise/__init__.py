"""The noise of stochastic gradient descent: how a gradient scatters, and what that costs on a plateau."""
