# Pinned by digest, because tags move. Raise both lines together (`docker buildx imagetools inspect python:3.14-slim`).
FROM python:3.14-slim@sha256:51dafde81dbdb6ebde285137a295cf18a47ca95234fe388a343719cb97305b3d AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/trigate
COPY requirements.txt requirements-extras.txt requirements-build.txt ./
# requirements-extras.txt adds PostgreSQL, Redis, encryption at rest, zstd, traces and cloud sign-in.
ARG REQUIREMENTS=requirements.txt
RUN pip --python /opt/trigate install --no-cache-dir --require-hashes -r "$REQUIREMENTS"
# The build tools stay in this stage.
RUN pip install --no-cache-dir --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY configfile configfile
COPY streams streams
COPY providers providers
COPY loadtest loadtest
COPY trigate trigate
COPY gateway gateway
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir /dist . \
    && pip --python /opt/trigate install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM python:3.14-slim@sha256:51dafde81dbdb6ebde285137a295cf18a47ca95234fe388a343719cb97305b3d
# A new volume gets the owner of its directory: SQLite files can be in /var/lib/trigate.
RUN groupadd --system --gid 10001 trigate && useradd --system --uid 10001 --gid 10001 --no-create-home trigate \
    && install -d -o 10001 -g 10001 -m 700 /var/lib/trigate
COPY --from=build /opt/trigate /opt/trigate
# By number, because Kubernetes' runAsNonRoot cannot check a name.
USER 10001:10001
WORKDIR /etc/trigate
ENV PATH=/opt/trigate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 12000
# Not urllib, which would use the providers' proxy. A configuration with another port, or TLS, needs its own check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 12000, timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# trigate is PID 1 and receives SIGTERM without a shell in between. Mount the configuration as /etc/trigate/trigate.yaml,
# and give it time to drain: docker stop -t 40.
ENTRYPOINT ["trigate"]
CMD ["serve", "--host", "0.0.0.0"]
