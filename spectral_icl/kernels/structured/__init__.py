"""Large problems: laws on the nonzero signals alone, and stages solved by products with the Hessian.

Nothing here has N^2 or I B entries: a state of H heads costs H^2 (B + I) operations, H^3 for what is coupled.
"""
