"""What only a GPU needs: kernels, matrix products that a graph can record, copies that nobody waits for.

The ops are written once, for NumPy and CuPy alike, and run on a GPU without anything in this room. It makes them fast
there, and helps where a GPU is different:

    kernels.cu    the CUDA kernels, with comments      kernels.py    launches them, on arrays
    gemm.py       matrix products by cuBLAS itself     graph.py      a whole step as one CUDA graph
    transfer.py   to the GPU and back, unwaited        numerics.py   TF32, and results that repeat
    memory.py     what is in use, and who has it       describe.py   which GPU it is
    fixes.py      what to do where CUDA does not work

Nothing here imports CuPy: `backend.cupy()` is the way to it, and `array_module(x)` for an array at hand.
"""
