# The receiver that `make run` starts where no VictoriaMetrics is installed: the same paths, samples kept in a file.
# It is made for looking and testing; it has no TLS, no retention and no index.
FROM python:3.11.14-slim
COPY tests/__init__.py /app/tests/__init__.py
COPY tests/fake_vm /app/tests/fake_vm
WORKDIR /app
RUN mkdir /data && chown nobody /data
USER nobody
VOLUME /data
EXPOSE 9090
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9090/health', timeout=5)"]
CMD ["python", "-m", "tests.fake_vm", "--host", "0.0.0.0", "--port", "9090", "--data", "/data/received.jsonl"]
