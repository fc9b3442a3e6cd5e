"""How the project gets into lm-eval: start-up hook, registration, and what its command line says.

Not for: the model classes that lm-eval then calls (see `iha_eval.models`).
"""
