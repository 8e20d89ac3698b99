# syntax=docker/dockerfile:1

# Two images from one file:
#   docker build --target api .       the HTTP service: no torch
#   docker build --target worker .    trains; TORCH_INDEX= (empty) takes PyPI's build for NVIDIA GPUs
# To pin the base to the byte, append the digest that `docker buildx imagetools inspect python:3.11.14-slim-trixie` shows.

FROM python:3.11.14-slim-trixie AS base
ENV PATH=/opt/fitd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FITD_DATA_DIR=/data \
    FITD_LOG_FORMAT=json
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin fitd \
    && install --directory --owner fitd --group fitd /data
WORKDIR /data

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/fitd
WORKDIR /source
COPY constraints.txt ./

FROM build AS build-api
COPY . .
RUN pip install --constraint constraints.txt '.[api]'

FROM build AS build-worker
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY . .
RUN pip install --constraint constraints.txt '.[worker]'

FROM base AS worker
COPY --from=build-worker /opt/fitd /opt/fitd
USER 10001
CMD ["python", "-m", "worker"]

FROM base AS api
COPY --from=build-api /opt/fitd /opt/fitd
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
CMD ["python", "-m", "api"]
