"""`iha-eval verify`: does every implementation of a checkpoint say the same?

For: what a user runs before trusting a number. The naive, the Transformers and the vLLM
implementation read the same prompts, one after the other, and their log-probabilities are compared.
Not for: scores, nor for speed.
"""
