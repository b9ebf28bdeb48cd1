# Two stages: the first has pip and what builds the wheel, the second only Python and what Denizen needs to run.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --no-deps -r requirements/build.txt \
    && python -m venv /opt/denizen && /opt/denizen/bin/pip install --require-hashes --no-deps -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/denizen/bin/pip install --no-deps /dist/*.whl \
    && /opt/denizen/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim
RUN groupadd --gid 10001 denizen && useradd --uid 10001 --gid denizen --no-create-home --home-dir /data denizen \
    && install --directory --owner denizen --group denizen --mode 0750 /data
COPY --from=build /opt/denizen /opt/denizen
ENV PATH=/opt/denizen/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DENIZEN_DATABASE_URL=sqlite:////data/denizen.db
USER denizen
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; at = os.environ.get; r.urlopen(f\"http://127.0.0.1:{at('DENIZEN_PORT', '8000')}{at('DENIZEN_PREFIX', '')}/healthz\", timeout=2)"]
ENTRYPOINT ["denizen"]
CMD ["serve", "--host", "0.0.0.0"]
