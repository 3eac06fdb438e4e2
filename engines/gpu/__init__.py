"""NVIDIA GPUs: driver, memory, streams and the two flavours of TensorRT."""
