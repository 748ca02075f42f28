# The gateway, and the one-shot services that make its secrets and its tables: the same image.
#   docker build -t gateway .      other base: --build-arg PYTHON_IMAGE=python:3.13-slim
# A tag, not a digest: each build gets what Debian and Python have mended since the last one. Who
# wants the same bytes each time gives a digest: PYTHON_IMAGE=python:3.12-slim@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# The dependencies first, in a layer of their own: a change of our code does not fetch them anew.
# Every file that comes from an index has to have one of the hashes in these lists.
COPY deploy/requirements.lock deploy/build.lock ./
RUN python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --require-hashes -r requirements.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r build.lock
COPY pyproject.toml README.md ./
COPY gateway gateway
# With what was checked above and nothing else: pip asks no index any more.
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation -w dist . \
    && /opt/gateway/bin/pip install --no-index --no-deps dist/*.whl \
    && /opt/gateway/bin/pip check \
    # Nothing is installed at run time.
    && /opt/gateway/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
# An empty volume takes over the owner and the mode of the directory it is mounted on. Redis and
# MariaDB, which run as somebody else, have to get into their own of these, and nobody into ours.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --home-dir /nonexistent \
       --shell /usr/sbin/nologin gateway \
    && install -d -m 0755 -o gateway -g gateway /secrets /secrets/redis /secrets/mariadb \
    && install -d -m 0700 -o gateway -g gateway /secrets/gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# As numbers, so that an orchestrator can tell that this is not root.
USER 10001:10001
EXPOSE 8000
# Not urllib.request, which would send even this through a proxy that the environment names.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('GATEWAY_PORT', '8000')), timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--host", "0.0.0.0"]
