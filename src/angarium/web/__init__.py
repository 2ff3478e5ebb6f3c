"""The control plane: panel, API, schema. The only place, with `store`, that imports Django."""
