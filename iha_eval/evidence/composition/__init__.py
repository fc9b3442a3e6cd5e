"""Composition of random relations (App. D): one trained layer, IHA against its baselines.

For: `iha-eval evidence composition`. Not for: the constructions with exact weights, which stand
beside this package.
"""
