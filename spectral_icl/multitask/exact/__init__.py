"""The exact law at any length and dimension: overlaps of attentions, rules for the query, and tables."""
