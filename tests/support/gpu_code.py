"""What must hold of a code object for a GPU, whichever compiler made it."""

import struct

from support import amd_metadata, cubin
from warp_bitonic_sort import plan
from warp_bitonic_sort.kernels import Kernel


def wrong_shared_memory(kernel: Kernel, image: bytes) -> str:
    """What is wrong with the shared memory that a code object asks for, or nothing."""
    name = image.index(kernel.name.encode() + b"\0")
    shared = struct.unpack_from(cubin.KERNEL, image, name - cubin.NAME_OFFSET)[-1]
    layout = kernel.layout
    if kernel.access == "rows" and shared != plan.shared_bytes(layout, kernel.bits, kernel.arch):
        return f"{kernel.name} asks for {shared} bytes, planned were others"
    fits = layout in plan.row_layouts(kernel.bits, kernel.arch) or shared <= 48 * 1024
    return "" if fits else f"{kernel.name} asks for {shared} bytes of shared memory"


def wrong_hip_code(kernel: Kernel, image: bytes):
    """Yield what is wrong with a code object."""
    said = amd_metadata.kernel(image)
    for name in (".private_segment_fixed_size", ".sgpr_spill_count", ".vgpr_spill_count"):
        if said[name] != 0:
            yield f"has a {name} of {said[name]}"
    if said[".uses_dynamic_stack"]:
        yield "uses a stack"
    if said[".wavefront_size"] != plan.wave_lanes(kernel.arch):
        yield f"has waves of {said['.wavefront_size']} lanes"
    name = image.index(kernel.name.encode() + b"\0")
    members = struct.unpack_from(cubin.KERNEL, image, name - cubin.NAME_OFFSET)
    bits, capacity, threads, shared = members[4], members[9], members[11], members[13]
    if (bits, capacity) != (kernel.bits, kernel.layout.capacity):
        yield f"says that it is for {capacity} keys of {bits} bits"
    if threads > 1024 or said[".max_flat_workgroup_size"] < threads:
        yield f"has {threads} threads, of {said['.max_flat_workgroup_size']}"
    layout = kernel.layout
    planned = plan.shared_bytes(layout, kernel.bits, kernel.arch)
    if kernel.access == "rows" and shared != planned:
        yield f"asks for {shared} bytes, planned were {planned}"
    if shared + said[".group_segment_fixed_size"] > 64 * 1024:
        yield f"asks for {shared} bytes of shared memory"
