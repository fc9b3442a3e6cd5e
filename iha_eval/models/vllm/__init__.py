"""`iha-vllm`: answers by vLLM engines."""
