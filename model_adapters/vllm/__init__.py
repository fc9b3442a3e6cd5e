"""The IHA model in vLLM: network, attention backend, cache, mixing."""
