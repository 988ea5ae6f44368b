"""Matrices of layers: time and memory to build them, against other packages, and the products without them."""

from benchmarks._command import Topic
from benchmarks.matrix.build import time_to_build
from benchmarks.matrix.importing import time_to_import
from benchmarks.matrix.memory import peak_memory
from benchmarks.matrix.operators import time_of_products
from benchmarks.matrix.peers import against_peers
from benchmarks.matrix.weights import new_weights

TOPICS: dict[str, Topic] = {
    "build": time_to_build,
    "memory": peak_memory,
    "peers": against_peers,
    "operators": time_of_products,
    "weights": new_weights,
    "import": time_to_import,
}
