"""The software half: models, their weights and tokenizers, and their lowering to programs.

A model is a :class:`~workloads.config.ModelConfig` (the shape), a networkx graph of tensor
operators (:func:`~workloads.graph.build_graph`) and a :class:`~workloads.weights.source.
WeightSource` (the numbers). :func:`open_workload` gives the source for a catalogue name, a
``.gguf`` file or a Hugging Face model folder.

This package imports ``isa`` and never ``sim``: all it knows of the hardware is ``isa.Target``.
"""

from workloads.config import ModelConfig

__all__ = ["ModelConfig"]
