"""The gradient flow: solved, measured and explained."""
