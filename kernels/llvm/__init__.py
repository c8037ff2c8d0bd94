"""Intrinsics and vector code in LLVM's terms, which the kernels are built on."""
