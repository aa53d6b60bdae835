"""Descriptions of sort kernels, short to write."""

from warp_bitonic_sort.kernels import Kernel, Layout
from warp_bitonic_sort.plan import plan
from warp_bitonic_sort.targets import target_with


def cpu_kernel(codec, bits, registers, access, arch):
    return Kernel("cpu", arch, "all", "none", codec, bits, Layout(registers), access)


def cuda_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch):
    layout = Layout(registers, lane_bits, warp_bits)
    return Kernel("cuda", arch, "all", "none", codec, bits, layout, access)


def hip_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch):
    return cuda_kernel(codec, bits, registers, lane_bits, warp_bits, access, arch)._replace(
        target="hip"
    )


def layouts(arch):
    """The layouts of a GPU's architecture."""
    return target_with(arch).layouts(arch)


def gpu_cells(bits, arch, payload="none", selection="all"):
    """Every cell of the grid of a GPU: (registers, lane bits, warp bits, access)."""
    return [(*layout, access) for layout, access in layouts(arch).cells(payload, bits, selection)]


def plan_sort(dtype, shape, x_strides, out_strides, axis, arch, capabilities=("sort", "transpose")):
    """The plan of a sort of values."""
    target = target_with(arch)
    strides = [x_strides, out_strides]
    return plan("all", "none", dtype, shape, strides, axis, target, arch, frozenset(capabilities))
