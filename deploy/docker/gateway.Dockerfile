# The HTTP API; with another command also the migrations (python -m sql.migrate) and the
# broker's map (python -m shared.topology apply). Build from the project's folder:
#     docker build -f deploy/docker/gateway.Dockerfile -t pointmill-gateway .
ARG BASE=python:3.11-slim

FROM ${BASE} AS packages
# For a network whose proxy signs with a certificate of its own; it stays out of the image.
ARG PIP_CERT
COPY requirements/gateway.txt /tmp/requirements.txt
RUN python -m venv /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --no-input --require-hashes -r /tmp/requirements.txt

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="pointmill-gateway" \
      org.opencontainers.image.description="Pointmill's HTTP API" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080
# A new volume takes over whose folder it covers.
RUN install -d -o 10001 -g 10001 /objects
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY sql/ sql/
COPY shared/ shared/
COPY services/__init__.py services/
COPY services/gateway/ services/gateway/
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['GATEWAY_PORT'] + '/livez', timeout=4)"]
CMD ["python", "-m", "services.gateway"]
