"""Model families, one module each: what is connected to what."""
