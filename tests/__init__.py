"""The test suite: ``pytest`` runs it, ``python -m tests.random_layers`` runs many more random layers."""
