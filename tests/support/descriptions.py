"""Descriptions of sort kernels, short to write."""

from warp_bitonic_sort.kernels import Kernel, Layout


def cpu_kernel(codec, bits, registers, access, arch):
    return Kernel("cpu", arch, "all", "none", codec, bits, Layout(registers), access)


def cuda_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch):
    layout = Layout(registers, lane_bits, warp_bits)
    return Kernel("cuda", arch, "all", "none", codec, bits, layout, access)


def hip_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch):
    return cuda_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch)._replace(
        target="hip"
    )
