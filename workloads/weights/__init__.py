"""Where a model's numbers come from: GGUF files, Hugging Face folders, or a seeded generator."""
