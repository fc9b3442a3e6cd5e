"""A small IHA model and its baseline, trained from scratch on multi-key retrieval.

For: the embedded pair of checkpoints, and showing the whole way from nothing to a report;
`python -m recipes.needle --model iha --out DIR`.
Not for: language; these models know one form of prompt and no other.
"""
