"""The default rasteriser: NVIDIA Warp kernels, one source for CPU and CUDA."""
