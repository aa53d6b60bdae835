"""What must hold of a code object for a GPU, whichever compiler made it."""

import struct

from support import amd_metadata, cubin, elf
from support.descriptions import layouts
from warp_bitonic_sort.kernels import MOST_FOUND, Kernel
from warp_bitonic_sort.targets.common.first_layouts import MAX_FIRST_LENGTH, is_bounded


def _is_bounded(kernel: Kernel) -> bool:
    """Whether a kernel reads rows of any number of units of a lane."""
    return is_bounded(kernel.layout, kernel.selection)


def _planned_shared_bytes(kernel: Kernel) -> int:
    table = layouts(kernel.arch)
    if kernel.access == "columns":
        return table.column_bytes(kernel.layout, kernel.payload, kernel.bits)
    return table.shared_bytes(kernel.layout, kernel.payload, kernel.bits, kernel.selection)


# Bytes of local memory of kernels that bound the first elements of rows: they load vectors of a row
# while they compare others, and spill some registers where a block has many threads.
MAX_LOCAL_MEMORY = {"integer": 24, "ieee": 24, "fnuz": 144}


# The same of columns that warps share, where a thread has 64 registers: on sm_90, and in blocks of
# 1024 threads.
MAX_LOCAL_MEMORY_OF_COLUMNS = {"integer": 88, "ieee": 16, "fnuz": 144}


def _is_shared_column(kernel: Kernel) -> bool:
    return kernel.access == "columns" and kernel.layout.warp_bits > 0


def _max_local_memory(kernel: Kernel) -> int:
    if _is_shared_column(kernel) and (kernel.arch == "sm_90" or kernel.layout.warp_bits == 5):
        return MAX_LOCAL_MEMORY_OF_COLUMNS[kernel.codec]
    return MAX_LOCAL_MEMORY[kernel.codec] if _is_bounded(kernel) else 0


def wrong_cuda_code(kernel: Kernel, image: bytes):
    """Yield what is wrong with a code object of nvcc or NVRTC."""
    local = local_memory(image)
    if local > _max_local_memory(kernel):
        yield f"has {local} bytes of local memory"
    name = image.index(kernel.name.encode() + b"\0")
    shared = struct.unpack_from(cubin.KERNEL, image, name - cubin.NAME_OFFSET)[-1]
    planned = _planned_shared_bytes(kernel)
    is_planned = kernel.access == "rows" or _is_shared_column(kernel)
    if is_planned and shared != planned:
        yield f"asks for {shared} bytes of shared memory, planned were {planned}"
    if not is_planned and shared > 48 * 1024:
        yield f"asks for {shared} bytes of shared memory"
    if shared > 1024 * layouts(kernel.arch).shared_kib:
        yield f"asks for {shared} bytes of shared memory, which {kernel.arch} has not"
    blocks = max(1, (1 << kernel.layout.lane_bits << kernel.layout.warp_bits) // 1024)
    cluster = cluster_shape(image)
    if cluster != ((blocks, 1, 1) if blocks > 1 else None):
        yield f"has a cluster of {cluster}, and its rows have {blocks} blocks"


def local_memory(image: bytes) -> int:
    """What the function of a code object has of local memory: of its frame, and of arrays."""
    found = elf.sections(image)
    total = sum(len(body) for name, body in found.items() if name.startswith(".nv.local"))
    # EIATTR_FRAME_SIZE: symbol, bytes.
    frames = (struct.unpack("<II", value)[1] for value in _attributes(found[".nv.info"], 0x11))
    return total + sum(frames)


def cluster_shape(image: bytes) -> tuple[int, int, int] | None:
    """The blocks of a cluster that a kernel is always launched with, along x, y and z."""
    info = elf.sections(image)[".nv.info.warp_bitonic_sort_rows"]
    # EIATTR_CTA_PER_CLUSTER
    return next((struct.unpack("<III", value) for value in _attributes(info, 0x3D)), None)


def _attributes(info: bytes, wanted: int):
    """Yield the values of an attribute in a section of a code object."""
    at = 0
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        # EIFMT_SVAL: a value of that size comes behind.
        end = at + 4 + (size if form == 4 else 0)
        if (form, attribute) == (4, wanted):
            yield info[at + 4 : end]
        at = end


# Scalar registers that a HIP kernel may keep in lanes of vector registers. Kernels with an index
# have many addresses and constants, of which few are used in the loops. Those that prune rows have
# conditions beside, which do not change from row to row.
MAX_SCALAR_SPILLS = {"none": 0, "index": 6, "value32": 0, "value64": 0}
MAX_PRUNED_SCALAR_SPILLS = 40


def _max_scalar_spills(kernel: Kernel) -> int:
    if kernel.selection in MOST_FOUND and not _is_bounded(kernel):
        return MAX_PRUNED_SCALAR_SPILLS
    return MAX_SCALAR_SPILLS[kernel.payload]


def wrong_hip_code(kernel: Kernel, image: bytes):
    """Yield what is wrong with a code object."""
    said = amd_metadata.kernel(image)
    for name, most in (
        (".private_segment_fixed_size", 0),
        (".sgpr_spill_count", _max_scalar_spills(kernel)),
        (".vgpr_spill_count", 0),
    ):
        if said[name] > most:
            yield f"has a {name} of {said[name]}"
    if said[".uses_dynamic_stack"]:
        yield "uses a stack"
    if said[".wavefront_size"] != layouts(kernel.arch).warp_lanes:
        yield f"has waves of {said['.wavefront_size']} lanes"
    name = image.index(kernel.name.encode() + b"\0")
    members = struct.unpack_from(cubin.KERNEL, image, name - cubin.NAME_OFFSET)
    bits, capacity, threads, shared = members[4], members[9], members[12], members[14]
    longest = MAX_FIRST_LENGTH if _is_bounded(kernel) else kernel.layout.capacity
    if (bits, capacity) != (kernel.bits, longest):
        yield f"says that it is for {capacity} keys of {bits} bits"
    if threads > 1024 or said[".max_flat_workgroup_size"] < threads:
        yield f"has {threads} threads, of {said['.max_flat_workgroup_size']}"
    planned = _planned_shared_bytes(kernel)
    if kernel.access == "rows" and shared != planned:
        yield f"asks for {shared} bytes, planned were {planned}"
    if shared + said[".group_segment_fixed_size"] > 64 * 1024:
        yield f"asks for {shared} bytes of shared memory"
