"""The containers as Azure Cosmos DB resources. `infra/` says the same in Bicep, and a test compares them."""

from typing import Any

from perdure.documents.containers import Container

MARKS = "perdureMarks"
"""The property in which the adapter notes who wrote a document. It is never shown."""


def resource(container: Container, dimensions: int) -> dict[str, Any]:
    """Describe a container as the database's REST interface and ARM do.

    Args:
        dimensions: Length of the vectors in it, fixed for the container's life.
    """
    excluded = [f"/{name}/*" for name in sorted((*container.payload, MARKS))] + ['/"_etag"/?']
    description: dict[str, Any] = {
        "id": container.name,
        "partitionKey": {
            "paths": [f"/{name}" for name in container.partition_key],
            "kind": "MultiHash",
            "version": 2,
        },
        # Documents expire by their own `ttl`, and without one never.
        "defaultTtl": -1,
        "indexingPolicy": {
            "indexingMode": "consistent",
            "automatic": True,
            "includedPaths": [{"path": "/*"}],
            "excludedPaths": [{"path": path} for path in excluded],
        },
    }
    if container.vector:
        path = f"/{container.vector}"
        description["vectorEmbeddingPolicy"] = {
            "vectorEmbeddings": [
                {"path": path, "dataType": "float32", "distanceFunction": "cosine", "dimensions": dimensions}
            ]
        }
        indexing = description["indexingPolicy"]
        indexing["excludedPaths"].append({"path": f"{path}/*"})
        indexing["vectorIndexes"] = [{"path": path, "type": "quantizedFlat"}]
    return description
