# syntax=docker/dockerfile:1
#
# Makes an image with Python, the package and its compiled kernels, but no compiler. In a clone:
#
#   docker build --tag warp-bitonic-sort .
#   docker run --rm warp-bitonic-sort                                  # the demo
#   docker run --rm --interactive --tty --entrypoint python warp-bitonic-sort
#
# With `--platform linux/arm64`, the image is for 64-bit Arm.

FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build==1.6.1
RUN WARP_SORT_WHEEL_LAYER=common WARP_SORT_WHEEL_PLATFORM="manylinux_2_28_$(uname -m)" \
    python -m build --wheel --outdir /wheels

FROM python:3.13-slim
RUN useradd --create-home user
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[demo]"
USER user
WORKDIR /home/user
ENTRYPOINT ["warp-bitonic-sort"]
CMD ["demo"]
