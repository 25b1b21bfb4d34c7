# One image for every service of docker-compose.yml: the command says which. Two stages: the compilers'
# caches and uv stay behind. Only what runs is installed: the locked versions of pyproject.toml's dependencies,
# each checked against the hash in requirements.lock.
FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY .ci/tools.lock .ci/build.lock .ci/
RUN python -m venv .venv && python -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --require-hashes --requirement .ci/tools.lock
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON=/app/.venv/bin/python UV_COMPILE_BYTECODE=1
# The dependencies are a layer of their own, which a change of the code leaves alone.
COPY pyproject.toml requirements.lock ./
RUN /uv/bin/uv pip install --verify-hashes --constraints requirements.lock --requirements pyproject.toml
COPY . .
RUN /uv/bin/uv pip install --no-deps --build-constraints .ci/build.lock --editable . \
    && .venv/bin/python -m compileall -q connectors console ledgerlake orchestration sandbox

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/ledgerlake --shell /usr/sbin/nologin ledgerlake \
    && install -d -o ledgerlake -g ledgerlake /var/lib/ledgerlake /var/lib/ledgerlake/dagster
COPY --from=build /app /app
# Dagster looks for its instance beside what it writes: the state is a volume, the file comes with the image.
RUN ln -s /app/orchestration/dagster.yaml /var/lib/ledgerlake/dagster/dagster.yaml
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LEDGERLAKE_HOME=/var/lib/ledgerlake \
    DAGSTER_HOME=/var/lib/ledgerlake/dagster \
    DBT_TARGET_PATH=/var/lib/ledgerlake/dbt/target \
    DBT_LOG_PATH=/var/lib/ledgerlake/dbt/logs
USER ledgerlake
VOLUME /var/lib/ledgerlake
EXPOSE 4000
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "orchestration.definitions"]
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 \
    CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
