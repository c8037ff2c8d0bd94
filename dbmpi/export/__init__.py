"""A trained model as a file for others: ONNX, safetensors, npz, and a module of PyTorch."""
