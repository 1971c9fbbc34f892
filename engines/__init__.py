"""ONNX -> something that runs: one file per runtime, a registry, and the artifact with its sidecar."""
