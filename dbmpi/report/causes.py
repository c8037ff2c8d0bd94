"""What partitions wait for, in words, in the order in which they are stacked."""

CAUSES = {
    "fetch": "fetching parameters",
    "push": "pushing gradients",
    "shards": "shards (fetch and push)",
    "states": "states of other partitions",
    "derivatives": "derivatives of other partitions",
    "output_stats": "outputs of other partitions",
    "shared": "shared tensors",
    "data": "reading the data",
    "coordinator": "the next order",
}
