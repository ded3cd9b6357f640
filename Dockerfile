FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.txt .
RUN python -m venv /opt/trigate && /opt/trigate/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY streams streams
COPY providers providers
COPY gateway gateway
RUN /opt/trigate/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home trigate
COPY --from=build /opt/trigate /opt/trigate
USER trigate
WORKDIR /etc/trigate
ENV PATH=/opt/trigate/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 12000
# trigate is PID 1 and handles SIGTERM itself: no shell in between. Mount the config as /etc/trigate/trigate.yaml.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:12000/healthz', timeout=2)"]
ENTRYPOINT ["trigate"]
CMD ["serve", "--host", "0.0.0.0"]
