"""What the paper on Interleaved Head Attention claims, done again with this project's attention.

For: `iha-eval evidence`; a module each for a claim, all of which run through
`model_adapters/naive.py` with its score function as a parameter. Not for: trained language models,
whose scores the other subcommands measure and compare.
"""
