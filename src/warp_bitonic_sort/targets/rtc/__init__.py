"""Run-time compilers: the libraries NVRTC and hipRTC, run like a compiler."""
