# syntax=docker/dockerfile:1
#
# The backend with the bundled version, for machines without a GPU:
#   docker build -t tagalong:cpu .
# For NVIDIA GPUs, with the CUDA build of torch, which is the default on Linux:
#   docker build -t tagalong:gpu --build-arg TORCH_INDEX=https://pypi.org/simple \
#     --build-arg EXTRAS=bundled,llm .

ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=bundled,cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Without pip: the final image does not need it.
RUN python -m venv --without-pip /opt/tagalong
WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
# torch alone and without its dependencies, because an index of torch builds lacks other packages; the
# next pip installs them. It has a separate layer, which is the largest and changes least.
RUN pip --python /opt/tagalong/bin/python install --no-deps --index-url "${TORCH_INDEX}" \
    "$(grep '^torch==' constraints.txt)"
COPY ner ner
COPY backend backend
COPY training training
COPY cli cli
COPY src src
RUN pip --python /opt/tagalong/bin/python install -c constraints.txt ".[${EXTRAS}]" \
    && pip --python /opt/tagalong/bin/python check

FROM python:${PYTHON_VERSION}-slim
# A fixed id, so that a folder of the host can belong to it.
RUN useradd --system --uid 10001 --home-dir /models --shell /usr/sbin/nologin tagalong \
    && install --directory --owner tagalong --mode 0750 /models
COPY --from=build /opt/tagalong /opt/tagalong
# Base models from a model hub and compiled models stay in the volume, in folders that the model
# store ignores.
ENV PATH=/opt/tagalong/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TAGALONG_MODELS=/models \
    HF_HOME=/models/.hub \
    XDG_CACHE_HOME=/models/.cache
WORKDIR /models
VOLUME /models
USER 10001
EXPOSE 9090
# /health answers at once, also while a model loads or runs, and needs no password.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9090/health', timeout=3).close()"]
ENTRYPOINT ["tagalong"]
CMD ["serve", "--host", "0.0.0.0", "--port", "9090", "--models", "/models"]
